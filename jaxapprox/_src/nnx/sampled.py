"""Layers that train on a Monte-Carlo estimate of themselves."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from flax.typing import Initializer

from jaxapprox._src.estimates.contraction import MC
from jaxapprox._src.estimates.conv import convolution
from jaxapprox._src.estimates.dense import dense
from jaxapprox._src.estimates.geometry import Padding
from jaxapprox._src.nnx.random_module import Keys
from jaxapprox._src.nnx.weighted_module import WeightedModule, default_bias_init, default_kernel_init
from jaxapprox._src.sampling.samplers import Sampler, systematic


class MCConv(WeightedModule):
    """`nnx.Conv` that trains on a Monte-Carlo estimate of itself (the paper's Appendix B).

    Its `kernel` and `bias` have the names, shapes and initial values of `nnx.Conv`'s, so a state moves between the two.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCConv
    >>> layer = MCConv(32, 64, (3, 3), ratio=0.25, rngs=nnx.Rngs(params=0, sample=1))
    >>> x = jax.random.normal(jax.random.key(2), (8, 16, 16, 32))
    >>> layer(x).shape  # from 8 of the 32 channels
    (8, 16, 16, 64)
    >>> layer.eval()  # exact from here on

    Args:
        in_features, out_features: channels.
        kernel_size: taps along each spatial axis; its length is the number of spatial axes, one to three.
        strides, padding, kernel_dilation, ratio, sampler, unit, mode, min_samples: as in `jaxapprox.mc_conv`.
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nnx.Conv`.
        deterministic: the exact convolution; set by `train()` and `eval()`.
        rng_collection: the stream of `rngs` that keys are drawn from, by a fork of it.
        rngs: with the streams "params" and "sample".

    Raises:
        ValueError: if `rngs` lacks the stream.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Padding = "SAME",
        ratio: float = 0.5,
        kernel_dilation: int | Sequence[int] | None = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jax.numpy.float32,
        kernel_init: Initializer = default_kernel_init,
        bias_init: Initializer = default_bias_init,
        sampler: Sampler = systematic,
        unit: str = "channel",
        mode: str = "forward",
        min_samples: int = 1,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
    ):
        window = (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
        shape = (*window, in_features, out_features)
        weights = (use_bias, dtype, param_dtype, kernel_init, bias_init)
        super().__init__(shape, *weights, deterministic, rng_collection, rngs)
        self.kernel_size = window
        self.strides, self.padding, self.kernel_dilation = strides, padding, kernel_dilation
        self.method = MC(ratio, sampler, unit, mode, min_samples)

    def __call__(self, x: jax.Array, *, deterministic: bool | None = None, rngs: Keys | None = None) -> jax.Array:
        """x `(*batch, *spatial, in)` -> `(*batch, *out_spatial, out)`.

        Args:
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if an attribute or the shape of x does not fit.
        """
        x, kernel, bias = self._promoted(x)
        return convolution(
            self._key(deterministic, rngs),
            x,
            kernel,
            bias,
            self.method,
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
        )


class MCDense(WeightedModule):
    """`nnx.Linear` that trains on a Monte-Carlo estimate of itself.

    Its `kernel` and `bias` have the names, shapes and initial values of `nnx.Linear`'s.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import MCDense
    >>> layer, x = MCDense(32, 8, ratio=0.25, rngs=nnx.Rngs(params=0, sample=1)), jnp.ones((2, 32))
    >>> grad = nnx.grad(lambda layer: layer(x).sum())(layer)
    >>> int((grad["kernel"][...] != 0).any(1).sum())  # input units that the output was computed from
    8

    Args:
        in_features, out_features: units.
        ratio, sampler, mode, min_samples: as in `jaxapprox.mc_dense`.
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nnx.Linear`.
        deterministic, rng_collection, rngs: as in `MCConv`.

    Raises:
        ValueError: if `rngs` lacks the stream.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        ratio: float = 0.5,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jax.numpy.float32,
        kernel_init: Initializer = default_kernel_init,
        bias_init: Initializer = default_bias_init,
        sampler: Sampler = systematic,
        mode: str = "forward",
        min_samples: int = 1,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
    ):
        weights = (use_bias, dtype, param_dtype, kernel_init, bias_init)
        super().__init__((in_features, out_features), *weights, deterministic, rng_collection, rngs)
        self.method = MC(ratio, sampler, mode=mode, min_samples=min_samples)

    def __call__(self, x: jax.Array, *, deterministic: bool | None = None, rngs: Keys | None = None) -> jax.Array:
        """x `(..., in)` -> `(..., out)`; all leading axes together are the examples.

        Args:
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if an attribute or the shape of x does not fit.
        """
        x, kernel, bias = self._promoted(x)
        return dense(self._key(deterministic, rngs), x, kernel, bias, self.method)
