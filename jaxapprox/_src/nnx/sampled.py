"""Dense layers that train on a Monte-Carlo estimate of themselves."""

from typing import Any

import jax
from flax import nnx

from jaxapprox._src.estimates import products
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.nnx.random_module import Keys
from jaxapprox._src.nnx.sampled_module import SampledModule
from jaxapprox._src.nnx.signatures import metadata_by_initialisers, taking_all_of
from jaxapprox._src.sampling.samplers import Sampler, systematic

_linear, _linear_general, _einsum = nnx.Linear.__call__, nnx.LinearGeneral.__call__, nnx.Einsum.__call__


class MCDense(nnx.Linear, SampledModule):
    """`nnx.Linear` that trains on a Monte-Carlo estimate of itself.

    It takes what `nnx.Linear` takes, with the same meaning, and has the same parameters.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCDense
    >>> layer, x = MCDense(32, 8, ratio=0.25, rngs=nnx.Rngs(params=0, sample=1)), jnp.ones((2, 32))
    >>> grad = nnx.grad(lambda layer: layer(x).sum())(layer)
    >>> int((grad["kernel"][...] != 0).any(1).sum())  # input units that the output was computed from
    8

    Args:
        *args, **kwargs: as in `nnx.Linear`. A `dot_general` of its own serves evaluation alone.
        ratio, sampler, unit, mode, min_samples, block_size, implementation: as in `jaxapprox.mc_dense`.
        deterministic: the exact product; set by `train()` and `eval()`.
        rng_collection: the stream of `rngs` that keys are drawn from, by a fork of it; without it the default stream.
        rngs: with the streams "params" and "sample", or a default one.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Linear.__init__)
    def __init__(
        self,
        *args: Any,
        ratio: float = 0.5,
        sampler: Sampler = systematic,
        unit: str = "channel",
        mode: str = "forward",
        min_samples: int = 1,
        block_size: int | None = None,
        implementation: str | None = None,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **metadata_by_initialisers(super().__init__, kwargs))
        method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
        SampledModule.__init__(self, method, deterministic, rng_collection, rngs)

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
            ValueError: if the product can't be estimated, or `rngs` lacks the stream.
        """
        layer = self._computing(products.dot_general, deterministic, rngs, "dot_general")
        return _linear(layer, inputs, **_given(out_sharding))


class MCLinearGeneral(nnx.LinearGeneral, SampledModule):
    """`nnx.LinearGeneral` that trains on a Monte-Carlo estimate of itself.

    It takes what `nnx.LinearGeneral` takes, with the same meaning, and has the same parameters. The rows of its sum are
    all that it contracts, over its axes together.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCLinearGeneral
    >>> layer = MCLinearGeneral((4, 8), 16, axis=(-2, -1), ratio=0.25, rngs=nnx.Rngs(params=0, sample=1))
    >>> layer(jnp.ones((2, 10, 4, 8))).shape  # from 8 of 32 rows
    (2, 10, 16)

    Args:
        *args, **kwargs: as in `nnx.LinearGeneral`. A `dot_general` of its own serves evaluation alone.
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection, rngs: as
            in `MCDense`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.LinearGeneral.__init__)
    def __init__(
        self,
        *args: Any,
        ratio: float = 0.5,
        sampler: Sampler = systematic,
        unit: str = "channel",
        mode: str = "forward",
        min_samples: int = 1,
        block_size: int | None = None,
        implementation: str | None = None,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **metadata_by_initialisers(super().__init__, kwargs))
        method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
        SampledModule.__init__(self, method, deterministic, rng_collection, rngs)

    def __call__(
        self,
        inputs: jax.Array,
        out_sharding: Any = None,
        *,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> jax.Array:
        """inputs, of which `axis` are contracted, -> the shape that `nnx.LinearGeneral` gives.

        Args, Raises: as in `MCDense`.
        """
        layer = self._computing(products.dot_general, deterministic, rngs, "dot_general", "dot_general_cls")
        return _linear_general(layer, inputs, **_given(out_sharding))


class MCEinsum(nnx.Einsum, SampledModule):
    """`nnx.Einsum` that trains on a Monte-Carlo estimate of itself.

    It takes what `nnx.Einsum` takes, with the same meaning, and has the same parameters.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCEinsum
    >>> layer = MCEinsum("btd,dhk->bthk", (32, 2, 4), ratio=0.25, rngs=nnx.Rngs(params=0, sample=1))
    >>> layer(jnp.ones((2, 10, 32))).shape  # from 8 of 32 rows
    (2, 10, 2, 4)

    Args:
        *args, **kwargs: as in `nnx.Einsum`. An `einsum_op` of its own serves evaluation alone.
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection, rngs: as
            in `MCDense`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Einsum.__init__)
    def __init__(
        self,
        *args: Any,
        ratio: float = 0.5,
        sampler: Sampler = systematic,
        unit: str = "channel",
        mode: str = "forward",
        min_samples: int = 1,
        block_size: int | None = None,
        implementation: str | None = None,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
        **kwargs: Any,
    ):
        super().__init__(*args, rngs=rngs, **metadata_by_initialisers(super().__init__, kwargs))
        method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
        SampledModule.__init__(self, method, deterministic, rng_collection, rngs)

    def __call__(
        self,
        inputs: jax.Array,
        einsum_str: str | None = None,
        out_sharding: Any = None,
        *,
        deterministic: bool | None = None,
        rngs: Keys | None = None,
    ) -> jax.Array:
        """inputs -> the shape that the equation gives.

        Args:
            inputs, einsum_str, out_sharding: as in `nnx.Einsum`.
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if the product can't be estimated, or `rngs` lacks the stream.
        """
        layer = self._computing(products.einsum, deterministic, rngs, "einsum_op")
        return _einsum(layer, inputs, einsum_str, **_given(out_sharding))


def _given(out_sharding: Any) -> dict[str, Any]:
    """The argument if it is given: Flax's layers take it from version 0.12 on."""
    return {} if out_sharding is None else {"out_sharding": out_sharding}
