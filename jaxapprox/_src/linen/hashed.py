"""A dense layer that trains on the units which hashing finds."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxapprox._src.conversion.hashed_product import product_of
from jaxapprox._src.hashing.active_dense import keep_active
from jaxapprox._src.hashing.alsh import ALSH, examples_of, rebuild_from_kernel
from jaxapprox._src.hashing.diagnostics import diagnose
from jaxapprox._src.hashing.tables import Tables, as_tables
from jaxapprox._src.linen.naming import naming
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.overriding import Overriding

_exact: Any = inspect.unwrap(nn.Dense.__call__)


class ALSHDense(nn.Dense):
    """`nn.Dense` that trains on the units which locality-sensitive hashing finds for each example (ALSH-approx).

    Inactive units output exactly 0, bias included, and get no gradient. Parameters have the names, shapes and
    initialisers of `nn.Dense`, and deterministic calls are its own; so is the product where `form` computes all units.
    The hash tables live in the collection "lsh", which a call only reads: `rehash` makes new ones. `init` computes the
    exact layer. Each call that hashes needs a key from the RNG stream "sample". With `mutable=["diagnostics"]` such a
    call writes its `jaxapprox.diagnostics.Diagnostics` into that collection, as "alsh".

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
        active: share of the units that an example activates, in (0, 1]; at least one unit.
        num_tables, num_bits, transform, num_powers, max_norm, projection: as in `jaxapprox.lsh.build`.
        select: as in `jaxapprox.lsh.active_set`.
        shared: one active set for the whole batch (`jaxapprox.lsh.shared_active_set`) instead of one for each example.
        form: as in `jaxapprox.lsh.active_dense`; a layer with a `dot_general` of its own can't be "gathered".
        hashed_evaluation: evaluate through the hash too, instead of exactly (the paper).
        deterministic: True for evaluation; may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
        features: as in `nn.Dense`, and so are all others.
    """

    active: float = 0.05
    num_tables: int = 5
    num_bits: int = 6
    transform: str = "l2"
    num_powers: int = 3
    max_norm: float = 0.83
    projection: str = "rademacher"
    select: str = "union"
    shared: bool = False
    form: str = "auto"
    hashed_evaluation: bool = False
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """inputs `(..., in)` -> `(..., features)`; all leading axes together are the examples.

        Raises:
            ValueError: if an attribute or the collection "lsh" does not fit; the layer is named.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        with naming(self):
            exact = deterministic and not self.hashed_evaluation
            return call_hashed(self._method(), self.choose, self.rng_collection, exact, self, inputs)

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


def call_hashed(
    method: ALSH, choose: Callable[..., jax.Array], stream: str, exact: bool, module: Any, inputs: jax.Array
) -> jax.Array:
    """What a dense layer computes of the units that hashing finds. Where variables are initialised it is exact.

    It is to be called within a compact call of the module.

    Args:
        method: the layer's hashing.
        choose: chooses the units, as `ALSHDense.choose`.
        stream: the RNG stream to draw from.
        exact: compute all units.
        module: the layer, which has the attributes of `nn.Dense`.
        inputs: `(..., in)`.

    Returns:
        `(..., features)`.

    Raises:
        ValueError, flax.errors.InvalidRngError: as for a call of `ALSHDense`.
    """
    shape = (jnp.shape(inputs)[-1], module.features)
    kernel = module.param("kernel", module.kernel_init, shape, module.param_dtype)

    def param(name, *args):
        return kernel if name == "kernel" else module.param(name, *args)

    if module.is_initializing():
        y = _exact(Overriding(module, param=param), inputs)
        _tables(method, module, kernel.T)
        return y
    if exact:  # no tables are needed: a checkpoint of `nn.Dense` will do
        return _exact(Overriding(module, param=param), inputs)
    tables = _tables(method, module, kernel.T)
    x: Any = module.promote_dtype(inputs, kernel, None, dtype=module.dtype)[0]
    examples = examples_of(x)
    ids = choose(sample_key(module, stream), tables, kernel.T, examples, method.size(module.features))
    if module.is_mutable_collection("diagnostics"):
        module.put_variable("diagnostics", "alsh", diagnose(tables, kernel.T, examples, ids))
    product = product_of(module, method.form, ids, module.features)
    return keep_active(_exact(Overriding(module, param=param, **product), inputs), ids)


def _tables(method: ALSH, module: nn.Module, weights: jax.Array) -> Tables:
    """A layer's tables, built when the layer is initialised."""
    if not module.has_variable("lsh", "tables") and not module.is_mutable_collection("lsh"):
        raise ValueError(
            "variables must hold the collection lsh, with its tables: pass on what init or rehash returned"
        )
    stored = module.variable("lsh", "tables", lambda: method.build(module.make_rng("params"), weights)).value
    tables = as_tables(nn.meta.unbox(stored), "lsh")
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
        variables: with the collections "params" and "lsh", as they are or as they come back from a file: boxed, with
            NumPy arrays, with dicts in the place of `Tables`. Leading axes (seeds, scanned layers) are mapped over.

    Returns:
        The new collection "lsh".

    Raises:
        ValueError: if a collection is missing, or does not fit the other; the layer is named.
    """
    if not {"params", "lsh"} <= set(variables):
        raise ValueError(f"variables must hold the collections params and lsh, got {', '.join(variables) or 'none'}")
    return _rehashed((), nn.meta.unbox(variables["lsh"]), nn.meta.unbox(variables["params"]))


def _rehashed(path: tuple[str, ...], tables: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """New tables of the module at a path and of the modules within it."""
    new: dict[str, Any] = {}
    for name, child in tables.items():
        is_module = isinstance(child, Mapping) and not {"codes", "projections"} & child.keys()
        needed = name if is_module else "kernel"
        if needed not in params:
            raise ValueError(f"params must hold {'/'.join((*path, needed))}, as lsh has tables of it, got none")
        if is_module:
            new[name] = _rehashed((*path, name), child, params[name])
        else:
            where = "/".join(path) or "this layer"
            new[name] = rebuild_from_kernel(as_tables(child, f"lsh of {where}"), jnp.asarray(params["kernel"]))
    return new
