"""A dense layer that trains on the units which hashing finds."""

from typing import Any

import jax
from flax import nnx
from flax.typing import Initializer

from jaxapprox._src.estimates.contraction import plus_bias
from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.alsh import ALSH, rebuild_from_kernel
from jaxapprox._src.hashing.diagnostics import Diagnostics, diagnose
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.nnx.random_module import Keys
from jaxapprox._src.nnx.weighted_module import WeightedModule, default_bias_init, default_kernel_init


class HashTable(nnx.Variable):
    """An array of a layer's hash tables. It is no parameter: only `rehash` changes it."""


class StoredTables(nnx.Module):
    """`jaxapprox.lsh.Tables` with a `HashTable` for each of its arrays."""

    def __init__(self, tables: Tables):
        for name, array in tables._asdict().items():
            setattr(self, name, HashTable(array))

    def load(self) -> Tables:
        """The tables as the library's functions take them."""
        return Tables(*(getattr(self, name)[...] for name in Tables._fields))

    def store(self, tables: Tables) -> None:
        """Replaces the tables."""
        for name, array in tables._asdict().items():
            getattr(self, name)[...] = array


class ALSHDense(WeightedModule):
    """`nnx.Linear` that trains on the units which locality-sensitive hashing finds for each example (ALSH-approx).

    Inactive units output exactly 0, bias included, and get no gradient. `kernel` and `bias` have the names, shapes and
    initial values of `nnx.Linear`'s; the hash functions come from another fork of the stream that the layer draws from.
    A call only reads the tables; `rehash` makes new ones as the weights move.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxapprox.nnx import ALSHDense
    >>> layer = ALSHDense(20, 100, active=0.05, rngs=nnx.Rngs(params=0, sample=1))
    >>> x = jax.random.normal(jax.random.key(2), (4, 20))
    >>> (layer(x) != 0).sum(1).tolist()
    [5, 5, 5, 5]
    >>> layer.active_set(x).shape
    (4, 5)

    Args:
        in_features, out_features: units.
        active, num_tables, num_bits, transform, num_powers, max_norm, projection, select, shared, form,
            hashed_evaluation: as in `jaxapprox.linen.ALSHDense`.
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nnx.Linear`.
        deterministic, rng_collection, rngs: as in `jaxapprox.nnx.MCConv`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        active: float = 0.05,
        num_tables: int = 5,
        num_bits: int = 6,
        transform: str = "l2",
        num_powers: int = 3,
        max_norm: float = 0.83,
        projection: str = "rademacher",
        select: str = "union",
        shared: bool = False,
        form: str = "gathered",
        hashed_evaluation: bool = False,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jax.numpy.float32,
        kernel_init: Initializer = default_kernel_init,
        bias_init: Initializer = default_bias_init,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
    ):
        weights = (use_bias, dtype, param_dtype, kernel_init, bias_init)
        super().__init__((in_features, out_features), *weights, deterministic, rng_collection, rngs)
        hashing = (num_tables, num_bits, transform, num_powers, max_norm, projection)
        self.method = ALSH(active, *hashing, select, shared, form, hashed_evaluation)
        self.tables = StoredTables(self.method.build(rngs[rng_collection](), self.kernel[...].T))

    def __call__(self, x: jax.Array, *, deterministic: bool | None = None, rngs: Keys | None = None) -> jax.Array:
        """x `(..., in)` -> `(..., out)`; all leading axes together are the examples.

        Args:
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if an attribute or the values of x do not fit.
        """
        deterministic = self.deterministic if deterministic is None else deterministic
        key = self._key(deterministic and not self.method.hashed_evaluation, rngs)
        x, kernel, bias = self._promoted(x)
        if key is None:
            return plus_bias(x @ kernel, bias)
        examples = x.reshape(-1, x.shape[-1])
        ids = self.active_set(examples, rngs=key)
        y = active_dense(examples, kernel, bias, ids, form=self.method.form)
        return y.reshape(*x.shape[:-1], self.out_features)

    def active_set(self, x: jax.Array, *, rngs: Keys | None = None) -> jax.Array:
        """The units that examples x `(batch, in)` activate: `(batch, size)` or, shared, `(size,)` int32."""
        size = self.method.size(self.out_features)
        return self.method.active_set(self._draw(rngs), self.tables.load(), x, size)

    def diagnose(self, x: jax.Array, *, rngs: Keys | None = None) -> Diagnostics:
        """Says how well the tables serve examples x `(batch, in)`."""
        return diagnose(self.tables.load(), self.kernel[...].T, x, self.active_set(x, rngs=rngs))


def rehash(model: nnx.Module) -> None:
    """New tables for every `ALSHDense` of a model, in place, by the same hash functions from the weights as they are.

    Layers that are stacked along leading axes (by `nnx.vmap`, for a scan or for seeds) are mapped over.

    >>> from flax import nnx
    >>> from jaxapprox.nnx import ALSHDense, rehash
    >>> layer = ALSHDense(20, 100, rngs=nnx.Rngs(params=0, sample=1))
    >>> before = layer.tables.load().codes
    >>> layer.kernel[...] = -layer.kernel[...]  # as if by training
    >>> rehash(layer)
    >>> bool((layer.tables.load().codes == before).all())
    False

    Raises:
        ValueError: if a kernel has a unit of zeros or is not finite.
    """
    for _, module in nnx.iter_graph(model):
        if isinstance(module, ALSHDense):
            module.tables.store(rebuild_from_kernel(module.tables.load(), module.kernel[...]))
