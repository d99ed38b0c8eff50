"""Convolutions that train on a Monte-Carlo estimate of themselves (the paper's Appendix B)."""

from typing import Any

import jax
from flax import nnx

from jaxapprox._src.conversion.settings import integers
from jaxapprox._src.conversion.transposed import masked, transposed_convolution
from jaxapprox._src.estimates import products
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.nnx.random_module import Keys
from jaxapprox._src.nnx.sampled_module import SampledModule
from jaxapprox._src.nnx.signatures import metadata_by_initialisers, taking_all_of
from jaxapprox._src.sampling.samplers import Sampler, systematic

_conv = nnx.Conv.__call__


class MCConv(nnx.Conv, SampledModule):
    """`nnx.Conv` that trains on a Monte-Carlo estimate of itself (the paper's Appendix B).

    It takes what `nnx.Conv` takes, with the same meaning, and has the same parameters, so a state moves between the
    two. Grouped convolutions are sampled within their groups.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCConv
    >>> layer = MCConv(32, 64, (3, 3), ratio=0.25, rngs=nnx.Rngs(params=0, sample=1))
    >>> x = jax.random.normal(jax.random.key(2), (8, 16, 16, 32))
    >>> layer(x).shape  # from 8 of the 32 channels
    (8, 16, 16, 64)
    >>> layer.eval()  # exact from here on

    Args:
        *args, **kwargs: as in `nnx.Conv`. A `conv_general_dilated` of its own serves evaluation alone.
        ratio, sampler, unit, mode, min_samples, block_size, implementation: as in `jaxapprox.mc_conv`.
        deterministic: the exact convolution; set by `train()` and `eval()`.
        rng_collection: the stream of `rngs` that keys are drawn from, by a fork of it; without it the default stream.
        rngs: with the streams "params" and "sample", or a default one.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.Conv.__init__)
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
        options = metadata_by_initialisers(super().__init__, _plain(kwargs))
        super().__init__(*map(integers, args), rngs=rngs, **options)
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
        """inputs `(*batch, *spatial, in)` -> `(*batch, *out_spatial, out)`.

        Args:
            inputs, out_sharding: as in `nnx.Conv`.
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if the convolution can't be estimated, or `rngs` lacks the stream.
        """
        _check_inputs(self, inputs)
        layer = self._computing(products.conv_general_dilated, deterministic, rngs, "conv_general_dilated")
        given = {} if out_sharding is None else {"out_sharding": out_sharding}  # unknown to Flax 0.11
        return _conv(layer, inputs, **given)


class MCConvTranspose(nnx.ConvTranspose, SampledModule):
    """`nnx.ConvTranspose` that trains on a Monte-Carlo estimate of itself.

    It takes what `nnx.ConvTranspose` takes, with the same meaning, and has the same parameters.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCConvTranspose
    >>> layer = MCConvTranspose(32, 16, (2, 2), (2, 2), ratio=0.25, rngs=nnx.Rngs(params=0, sample=1))
    >>> layer(jnp.ones((2, 4, 4, 32))).shape  # from 8 of the 32 channels
    (2, 8, 8, 16)

    Args:
        *args, **kwargs: as in `nnx.ConvTranspose`.
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection, rngs: as
            in `MCConv`.

    Raises:
        ValueError: if an argument does not fit, or `rngs` lacks the stream.
    """

    @taking_all_of(nnx.ConvTranspose.__init__)
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
        options = metadata_by_initialisers(super().__init__, _plain(kwargs))
        super().__init__(*map(integers, args), rngs=rngs, **options)
        method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
        SampledModule.__init__(self, method, deterministic, rng_collection, rngs)

    def __call__(self, inputs: jax.Array, *, deterministic: bool | None = None, rngs: Keys | None = None) -> jax.Array:
        """inputs `(*batch, *spatial, in)` -> `(*batch, *out_spatial, out)`.

        Args, Raises: as in `MCConv`.
        """
        _check_inputs(self, inputs)
        product = self.call_product(products.conv_transpose, deterministic, rngs)
        arrays = inputs, masked(self, self.kernel[...]), None if self.bias is None else self.bias[...]
        return transposed_convolution(product, self, *self.promote_dtype(arrays, dtype=self.dtype))


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with those that are integers as Python's: NNX takes arrays for data, which it traces."""
    names = ("in_features", "out_features", "kernel_size", "strides", "padding", "input_dilation", "kernel_dilation")
    return {name: integers(value) if name in names else value for name, value in settings.items()}


def _check_inputs(layer: Any, inputs: jax.Array) -> None:
    spatial, shape = len(layer.kernel_size), jax.numpy.shape(inputs)
    if len(shape) <= spatial or shape[-1] != layer.in_features:
        raise ValueError(
            f"{type(layer).__name__}: inputs must have {spatial} spatial axes and {layer.in_features} channels,"
            f" got shape {shape}"
        )
