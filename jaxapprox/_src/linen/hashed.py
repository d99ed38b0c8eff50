"""A dense layer that trains on the units which hashing finds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Initializer

from jaxapprox._src.estimates.contraction import plus_bias
from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.alsh import ALSH, rebuild_from_kernel
from jaxapprox._src.hashing.diagnostics import diagnose
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.linen.rng import sample_key


class ALSHDense(nn.Module):
    """`nn.Dense` that trains on the units which locality-sensitive hashing finds for each example (ALSH-approx).

    Inactive units output exactly 0, bias included, and get no gradient. Parameters have the names, shapes and
    initialisers of `nn.Dense`; the hash tables live in the collection "lsh", which a call only reads: `rehash` makes
    new ones. Each call that hashes needs a key from the RNG stream "sample". With `mutable=["diagnostics"]` such a call
    writes its `jaxapprox.diagnostics.Diagnostics` into that collection, as "alsh".

    >>> import jax
    >>> from jaxapprox.linen import ALSHDense
    >>> layer = ALSHDense(100, active=0.05)
    >>> x = jax.random.normal(jax.random.key(0), (4, 20))
    >>> variables = layer.init(jax.random.key(1), x, deterministic=True)
    >>> sorted(variables)
    ['lsh', 'params']
    >>> y = layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)})
    >>> (y != 0).sum(1).tolist()
    [5, 5, 5, 5]

    Attributes:
        features: output units.
        active: share of the units that an example activates, in (0, 1]; at least one unit.
        num_tables, num_bits, transform, num_powers, max_norm, projection: as in `jaxapprox.lsh.build`.
        select: as in `jaxapprox.lsh.active_set`.
        shared: one active set for the whole batch (`jaxapprox.lsh.shared_active_set`) instead of one for each example.
        form: as in `jaxapprox.lsh.active_dense`.
        hashed_evaluation: evaluate through the hash too, instead of exactly (the paper).
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nn.Dense`.
        deterministic: True for evaluation; may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
    """

    features: int
    active: float = 0.05
    num_tables: int = 5
    num_bits: int = 6
    transform: str = "l2"
    num_powers: int = 3
    max_norm: float = 0.83
    projection: str = "rademacher"
    select: str = "union"
    shared: bool = False
    form: str = "gathered"
    hashed_evaluation: bool = False
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jax.numpy.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """x `(..., in)` -> `(..., features)`; all leading axes together are the examples.

        Raises:
            ValueError: if an attribute, the collection "lsh" or the values of x do not fit.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        method = self._method()
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        weights = kernel.T
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        exact = deterministic and not self.hashed_evaluation
        if exact and not self.is_initializing():  # no tables are needed: a checkpoint of `nn.Dense` can be evaluated
            return plus_bias(x @ kernel, bias)
        tables = self._tables(weights)
        if exact:
            return plus_bias(x @ kernel, bias)
        examples = x.reshape(-1, x.shape[-1])
        key = sample_key(self, self.rng_collection)
        ids = self.choose(key, tables, weights, examples, method.size(self.features))
        if self.is_mutable_collection("diagnostics") and not self.is_initializing():
            self.put_variable("diagnostics", "alsh", diagnose(tables, weights, examples, ids))
        return active_dense(examples, kernel, bias, ids, form=self.form).reshape(*x.shape[:-1], self.features)

    def choose(self, key: jax.Array, tables: Tables, weights: jax.Array, x: jax.Array, size: int) -> jax.Array:
        """Chooses the units that examples activate. A subclass may choose by another rule.

        Args:
            key: a PRNG key from the stream "sample".
            tables: the layer's tables.
            weights: `(units, features)`, the kernel transposed, which the tables were built from.
            x: `(batch, features)`.
            size: the number of units in a set.

        Returns:
            `(batch, size)` int32, or `(size,)` where the batch shares one set.
        """
        return self._method().active_set(key, tables, x, size)

    def _method(self) -> ALSH:
        """The layer's attributes as an `ALSH`, which checks them."""
        return ALSH(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ALSH)})

    def _tables(self, weights: jax.Array) -> Tables:
        """The layer's tables, built when the layer is initialised."""
        if not self.has_variable("lsh", "tables") and not self.is_mutable_collection("lsh"):
            raise ValueError(
                f"variables must hold the collection lsh with the tables of {'/'.join(self.path) or 'this layer'}:"
                " pass on what init or rehash returned"
            )
        tables = self.variable("lsh", "tables", lambda: self._method().build(self.make_rng("params"), weights)).value
        built_for = (tables.codes.shape[-1], tables.projections.shape[0])
        if built_for != weights.shape:
            raise ValueError(f"lsh must hold tables for (units, features) = {weights.shape}, got some for {built_for}")
        return tables


def rehash(variables: Mapping[str, Any]) -> dict[str, Any]:
    """New tables for every `ALSHDense` of a model, by the same hash functions from the weights as they are now.

    >>> import jax
    >>> from jaxapprox.linen import ALSHDense, rehash
    >>> variables = ALSHDense(100).init(jax.random.key(0), jax.numpy.ones((4, 20)), deterministic=True)
    >>> params = jax.tree.map(lambda w: -w, variables["params"])  # as if by training
    >>> new = {"params": params, "lsh": rehash({**variables, "params": params})}
    >>> bool((new["lsh"]["tables"].codes == variables["lsh"]["tables"].codes).all())
    False

    Args:
        variables: with the collections "params" and "lsh"; leading axes (seeds, scanned layers) are mapped over.

    Returns:
        The new collection "lsh".

    Raises:
        ValueError: if a collection is missing, or a kernel has a unit of zeros or is not finite.
    """
    if not {"params", "lsh"} <= set(variables):
        raise ValueError(f"variables must hold the collections params and lsh, got {', '.join(variables) or 'none'}")
    return _rehashed(variables["lsh"], variables["params"])


def _rehashed(tables: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """New tables of one module and of the modules within it."""
    new: dict[str, Any] = {}
    for name, child in tables.items():
        if isinstance(child, Tables):
            new[name] = rebuild_from_kernel(child, params["kernel"])
        else:
            new[name] = _rehashed(child, params[name])
    return new
