"""Layers that train on a Monte-Carlo estimate of themselves: dense ones; `sampled_conv.py` has the convolutions."""

import dataclasses
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.linen.naming import naming
from jaxapprox._src.linen.products import PRODUCTS, estimated
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.sampling.samplers import Sampler, systematic


def call_sampled(module: Any, deterministic: bool | None, *args: Any) -> jax.Array:
    """A call of one of our layers, which has the attributes of the Flax layer that it is and those of an `MC`.

    Raises:
        ValueError: if an attribute or an argument does not fit; the layer is named.
        flax.errors.InvalidRngError: if a key is needed and the layer's stream is missing.
    """
    with naming(module):
        deterministic = nn.merge_param("deterministic", module.deterministic, deterministic)
        names = {field.name for field in dataclasses.fields(MC)} & set(module.__dataclass_fields__)
        method = MC(**{name: getattr(module, name) for name in names})
        key = None if deterministic else sample_key(module, module.rng_collection)
        kind = next(base for base in type(module).__mro__ if base in PRODUCTS)
        return estimated(method, key, kind, module, *args)


class MCDense(nn.Dense):
    """`nn.Dense` that trains on a Monte-Carlo estimate of itself.

    It has the attributes, parameters and initialisers of `nn.Dense`, and is equal to it with `deterministic=True`. Each
    call with `deterministic=False` needs a key from the RNG stream "sample".

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
        ratio, sampler, unit, mode, min_samples, block_size, implementation: as in `jaxapprox.mc_dense`.
        deterministic: True for the exact product (evaluation); may be given to the call instead.
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
        """inputs `(..., in)` -> `(..., features)`; all leading axes together are the examples.

        Raises:
            ValueError: if an attribute or the shape of the inputs does not fit, or there is a `dot_general` of its own.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        return call_sampled(self, deterministic, inputs)


class MCDenseGeneral(nn.DenseGeneral):
    """`nn.DenseGeneral` that trains on a Monte-Carlo estimate of itself; attention is made of such layers.

    It has the attributes, parameters and initialisers of `nn.DenseGeneral`, and is equal to it with
    `deterministic=True`. The sum that is sampled runs over all contracted axes together. Each call with
    `deterministic=False` needs a key from the RNG stream "sample".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import MCDenseGeneral
    >>> layer, x = MCDenseGeneral(16, axis=(-2, -1), ratio=0.25), jnp.ones((2, 5, 4, 8))  # attention's output: 4 heads
    >>> variables = layer.init(jax.random.key(1), x, deterministic=True)
    >>> layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)}).shape  # from 8 of 32 terms
    (2, 5, 16)

    Attributes:
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection: as in
            `MCDense`.
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
        """inputs -> the axes that are not contracted, then those of `features`; batch axes come first.

        Raises:
            ValueError, flax.errors.InvalidRngError: as for `MCDense`.
        """
        return call_sampled(self, deterministic, inputs)


class MCEinsum(nn.Einsum):
    """`nn.Einsum` that trains on a Monte-Carlo estimate of itself.

    It has the attributes, parameters and initialisers of `nn.Einsum`, and is equal to it with `deterministic=True`. The
    sum that is sampled runs over all contracted axes together. Each call with `deterministic=False` needs a key from
    the RNG stream "sample".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import MCEinsum
    >>> layer, x = MCEinsum((32, 4, 8), "btd,dhk->bthk", ratio=0.25), jnp.ones((2, 5, 32))
    >>> variables = layer.init(jax.random.key(1), x, deterministic=True)
    >>> layer.apply(variables, x, deterministic=False, rngs={"sample": jax.random.key(2)}).shape  # from 8 of 32 terms
    (2, 5, 4, 8)

    Attributes:
        ratio, sampler, unit, mode, min_samples, block_size, implementation, deterministic, rng_collection: as in
            `MCDense`.
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
    def __call__(
        self, inputs: jax.Array, einsum_str: str | None = None, deterministic: bool | None = None
    ) -> jax.Array:
        """inputs -> the output of the equation, plus the bias, which has the kernel's axes among those of the output.

        Raises:
            ValueError: as for `MCDense`; or if the equation is given twice, not at all, or not for two operands.
            flax.errors.InvalidRngError: as for `MCDense`.
        """
        return call_sampled(self, deterministic, inputs, einsum_str)
