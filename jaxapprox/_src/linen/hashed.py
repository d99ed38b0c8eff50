"""A dense layer that trains on the units which hashing finds."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.explicit_axes import in_auto_axes, split_like
from jaxapprox._src.hashing.active_dense import gathered_product, gathers, keep_active
from jaxapprox._src.hashing.alsh import ALSH, rebuild_from_kernel
from jaxapprox._src.hashing.diagnostics import diagnose
from jaxapprox._src.hashing.tables import Tables, as_tables
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.overriding import Overriding

_exact = inspect.unwrap(nn.Dense.__call__)


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
        features, and all others: as in `nn.Dense`.
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
        """Inputs `(..., in)` -> `(..., features)`; all leading axes together are the examples.

        Raises:
            ValueError: if an attribute or the collection "lsh" does not fit.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        method = self._method()
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        params: dict[str, jax.Array] = {}

        def param(name, *args, **kwargs):
            params[name] = self.param(name, *args, **kwargs)
            return params[name]

        if self.is_initializing():
            y = _exact(Overriding(self, param=param), inputs)
            self._tables(params["kernel"].T)
            return y
        if deterministic and not self.hashed_evaluation:  # no tables are needed: `nn.Dense`'s checkpoints do
            return _exact(self, inputs)
        key = sample_key(self, self.rng_collection)
        chosen: list[jax.Array] = []

        def choose(x):
            weights = params["kernel"].T
            tables = self._tables(weights)
            examples = in_auto_axes(lambda x: x.reshape(-1, x.shape[-1]), split_like(x, 1), x)
            chosen.append(self.choose(key, tables, weights, examples, method.size(self.features)))
            if self.is_mutable_collection("diagnostics"):
                self.put_variable("diagnostics", "alsh", diagnose(tables, weights, examples, chosen[0]))
            return chosen[0]
