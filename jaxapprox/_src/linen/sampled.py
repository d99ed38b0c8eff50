"""Layers that train on a Monte-Carlo estimate of themselves."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Initializer

from jaxapprox._src.estimates.contraction import MC
from jaxapprox._src.estimates.conv import convolution
from jaxapprox._src.estimates.dense import dense
from jaxapprox._src.estimates.geometry import Padding
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.sampling.samplers import Sampler, systematic


class MCConv(nn.Module):
    """`nn.Conv` that trains on a Monte-Carlo estimate of itself (the paper's Appendix B).

    Parameters have the names, shapes and initialisers of `nn.Conv`, so a checkpoint moves between the two. Each call
    with `deterministic=False` needs a key from the RNG stream "sample".

    >>> import jax
    >>> from flax import linen as nn
    >>> from jaxapprox.linen import MCConv
    >>> layer = MCConv(16, (3, 3), ratio=0.25)
    >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 32))
    >>> variables = nn.Conv(16, (3, 3)).init(jax.random.key(1), x)
    >>> layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)}).shape  # from 8 channels
    (2, 8, 8, 16)

    Attributes:
        features: output channels.
        kernel_size: taps along each spatial axis; its length is the number of spatial axes, one to three.
        strides, padding, kernel_dilation, ratio, sampler, unit, mode, min_samples: as in `jaxapprox.mc_conv`.
        feature_group_count: must be 1: grouped convolutions are refused.
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nn.Conv`.
        deterministic: True for the exact convolution (evaluation); may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] | None = 1
    padding: Padding = "SAME"
    ratio: float = 0.5
    kernel_dilation: int | Sequence[int] | None = 1
    feature_group_count: int = 1
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jax.numpy.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    sampler: Sampler = systematic
    unit: str = "channel"
    mode: str = "forward"
    min_samples: int = 1
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """x `(*batch, *spatial, in)` -> `(*batch, *out_spatial, features)`.

        Raises:
            ValueError: if an attribute or the shape of x does not fit.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        if self.feature_group_count != 1:
            raise ValueError(
                f"feature_group_count must be 1, got {self.feature_group_count!r}: groups are not supported"
            )
        window = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        kernel = self.param("kernel", self.kernel_init, (*window, x.shape[-1], self.features), self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return convolution(
            None if deterministic else sample_key(self, self.rng_collection),
            x,
            kernel,
            bias,
            MC(self.ratio, self.sampler, self.unit, self.mode, self.min_samples),
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
        )


class MCDense(nn.Module):
    """`nn.Dense` that trains on a Monte-Carlo estimate of itself.

    Parameters have the names, shapes and initialisers of `nn.Dense`. Each call with `deterministic=False` needs a key
    from the RNG stream "sample".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import MCDense
    >>> layer, rngs = MCDense(8, ratio=0.25), {"sample": jax.random.key(0)}
    >>> x = jnp.ones((2, 32))
    >>> variables = layer.init(jax.random.key(1), x, deterministic=True)
    >>> grad = jax.grad(lambda v: layer.apply(v, x, deterministic=False, rngs=rngs).sum())(variables)
    >>> int((grad["params"]["kernel"] != 0).any(1).sum())  # input units that the output was computed from
    8

    Attributes:
        features: output units.
        ratio, sampler, mode, min_samples: as in `jaxapprox.mc_dense`.
        use_bias, dtype, param_dtype, kernel_init, bias_init: as in `nn.Dense`.
        deterministic: True for the exact product (evaluation); may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
    """

    features: int
    ratio: float = 0.5
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jax.numpy.float32
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    sampler: Sampler = systematic
    mode: str = "forward"
    min_samples: int = 1
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """x `(..., in)` -> `(..., features)`; all leading axes together are the examples.

        Raises:
            ValueError, flax.errors.InvalidRngError: as for `MCConv`.
        """
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        key = None if deterministic else sample_key(self, self.rng_collection)
        method = MC(self.ratio, self.sampler, mode=self.mode, min_samples=self.min_samples)
        return dense(key, x, kernel, bias, method)
