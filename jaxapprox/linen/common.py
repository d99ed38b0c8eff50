"""What the layers share."""

from collections.abc import Callable

import jax
from flax import linen as nn
from flax.errors import InvalidRngError

Initializer = Callable[..., jax.Array]


def plus_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """y `(..., features)` plus bias `(features,)`, if there is one."""
    return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def sample_key(module: nn.Module) -> jax.Array:
    """The module's next key from the stream "sample", and from no other."""
    if not module.has_rng("sample"):
        raise InvalidRngError(f"{type(module).__name__} needs the RNG stream 'sample': pass rngs={{'sample': key}}")
    return module.make_rng("sample")
