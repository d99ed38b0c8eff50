"""Convolutions that train on a Monte-Carlo estimate of themselves."""

import jax
from flax import linen as nn

from jaxapprox._src.linen.sampled import call_sampled
from jaxapprox._src.sampling.samplers import Sampler, systematic


class MCConv(nn.Conv):
    """`nn.Conv` that trains on a Monte-Carlo estimate of itself (the paper's Appendix B).

    It has the attributes, parameters and initialisers of `nn.Conv`, so a checkpoint moves between the two, and is equal
    to it with `deterministic=True`. A grouped convolution is sampled within its groups. Each call with
    `deterministic=False` needs a key from the RNG stream "sample".

    >>> import jax
    >>> from flax import linen as nn
    >>> from jaxapprox.linen import MCConv
    >>> layer = MCConv(16, (3, 3), ratio=0.25)
    >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 32))
    >>> variables = nn.Conv(16, (3, 3)).init(jax.random.key(1), x)
    >>> layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)}).shape  # from 8 channels
    (2, 8, 8, 16)

    Attributes:
        ratio, sampler, unit, mode, min_samples, block_size, implementation: as in `jaxapprox.mc_conv`.
        deterministic: True for the exact convolution (evaluation); may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.
    """

    ratio: float = 0.5
    sampler: Sampler = systematic
    unit: str = "channel"
    mode: str = "forward"
    min_samples: int = 1
    block_size: int | None = None
    implementation: str | None = None
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """inputs `(*batch, *spatial, in)` -> `(*batch, *out_spatial, features)`.

        Raises:
            ValueError: if an attribute or the shape of the inputs does not fit, or there is a `conv_general_dilated` of
                its own.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        return call_sampled(self, deterministic, inputs)


class MCConvTranspose(nn.ConvTranspose):
    """`nn.ConvTranspose` that trains on a Monte-Carlo estimate of itself.

    It has the attributes, parameters and initialisers of `nn.ConvTranspose`, and is equal to it with
    `deterministic=True`. Each call with `deterministic=False` needs a key from the RNG stream "sample".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import MCConvTranspose
    >>> layer, x = MCConvTranspose(16, (3, 3), strides=(2, 2), ratio=0.25), jnp.ones((2, 8, 8, 32))
    >>> variables = layer.init(jax.random.key(1), x, deterministic=True)
    >>> layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)}).shape  # from 8 channels
    (2, 16, 16, 16)

    Attributes:
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection: as in
            `MCConv`.
    """

    ratio: float = 0.5
    sampler: Sampler = systematic
    unit: str = "channel"
    mode: str = "forward"
    min_samples: int = 1
    block_size: int | None = None
    implementation: str | None = None
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """inputs `(*batch, *spatial, in)` -> `(*batch, *out_spatial, features)`.

        Raises:
            ValueError, flax.errors.InvalidRngError: as for `MCConv`.
        """
        return call_sampled(self, deterministic, inputs)
