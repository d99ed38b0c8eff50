"""A dense layer that trains on the units which hashing finds."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxapprox._src.conversion.hashed_product import product_of
from jaxapprox._src.hashing.active_dense import keep_active
from jaxapprox._src.hashing.alsh import ALSH, examples_of, rebuild_from_kernel
from jaxapprox._src.hashing.diagnostics import Diagnostics, diagnose
from jaxapprox._src.hashing.tables import Tables, as_tables
from jaxapprox._src.nnx.random_module import Keys, RandomModule
from jaxapprox._src.nnx.signatures import metadata_by_initialisers, taking_all_of
from jaxapprox._src.overriding import Overriding

_exact: Any = nnx.Linear.__call__


class HashTable(nnx.Variable):
    """An array of a layer's hash tables. It is no parameter: only `rehash` changes it."""


class StoredTables(nnx.Module):
    """`jaxapprox.lsh.Tables` with a `HashTable` for each of its arrays."""

    def __init__(self, tables: Tables):
        for name, array in tables._asdict().items():
            setattr(self, name, None if array is None else HashTable(array))

    def load(self) -> Tables:
        """The tables as the library's functions take them."""
        variables = {name: getattr(self, name) for name in Tables._fields}
        return as_tables({name: variable[...] for name, variable in variables.items() if variable is not None})

    def store(self, tables: Tables) -> None:
        """Replaces the tables."""
        nnx.update(self, {name: array for name, array in tables._asdict().items() if array is not None})


class ALSHDense(nnx.Linear, RandomModule):
    """`nnx.Linear` that trains on the units which locality-sensitive hashing finds for each example (ALSH-approx).

    It takes what `nnx.Linear` takes, with the same meaning, and has the same parameters; deterministic calls are its
    own, and so is the product where `form` computes all units. Inactive units output exactly 0, bias included, and get
    no gradient. The hash functions come from another fork of the stream that the layer draws from. A call only reads
    the tables; `rehash` makes new ones as the weights move.

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
        *args, **kwargs: as in `nnx.Linear`.
        active, num_tables, num_bits, transform, num_powers, max_norm: as in `jaxapprox.linen.ALSHDense`.
        projection, select, shared, form, hashed_evaluation: as there.
        deterministic, rng_collection, rngs: as in `jaxapprox.nnx.MCDense`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Linear.__init__)
    def __init__(
        self,
        *args: Any,
        active: float = 0.05,
        num_tables: int = 5,
        num_bits: int = 6,
        transform: str = "l2",
        num_powers: int = 3,
        max_norm: float = 0.83,
        projection: str = "rademacher",
        select: str = "union",
        shared: bool = False,
        form: str = "auto",
        hashed_evaluation: bool = False,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **metadata_by_initialisers(super().__init__, kwargs))
        RandomModule.__init__(self, deterministic, rng_collection, rngs)
        hashing = (num_tables, num_bits, transform, num_powers, max_norm, projection)
        self.method = ALSH(active, *hashing, select, shared, form, hashed_evaluation)
        self.tables = StoredTables(self.method.build(rngs[rng_collection](), self.kernel[...].T))

    def __call__(
        self,
        inputs: jax.Array,
        out_sharding: Any = None,
        *,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> jax.Array:
        """inputs `(..., in)` -> `(..., out)`; all leading axes together are the examples.

        Args:
            inputs, out_sharding: as in `nnx.Linear`.
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if an attribute or the shape of the inputs does not fit, or `rngs` lacks the stream.
        """
        deterministic = self.deterministic if deterministic is None else deterministic
        key = self._key(deterministic and not self.method.hashed_evaluation, rngs)
        given = {} if out_sharding is None else {"out_sharding": out_sharding}
        if key is None:
            return _exact(self, inputs, **given)
        if inputs.shape[-1:] != (self.in_features,):
            raise ValueError(f"ALSHDense: inputs must have {self.in_features} features, got shape {inputs.shape}")
        x, *_ = self.promote_dtype((inputs, self.kernel[...], None), dtype=self.dtype)
        ids = self.active_set(examples_of(x), rngs=key)
        product = product_of(self, self.method.form, ids, self.out_features)
        return keep_active(_exact(Overriding(self, **product), inputs, **given), ids)

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
    """
    for _, module in nnx.iter_graph(model):
        if isinstance(module, ALSHDense):
            module.tables.store(rebuild_from_kernel(module.tables.load(), jnp.asarray(module.kernel[...])))
