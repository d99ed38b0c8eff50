"""A call of an exact layer, approximated on the layer's own scope: by its parameters, recorded as its own."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.linen.hashed import call_hashed
from jaxapprox._src.linen.products import PRODUCTS, estimated
from jaxapprox._src.linen.rng import sample_key
from jaxapprox._src.linen.sampled_softmax import loss_of_dense, loss_of_embed
from jaxapprox._src.softmax.settings import SampledSoftmax


def can_be_replaced(module: nn.Module, name: str) -> bool:
    """Whether a call of a module's method of this name can be: that of a layer, or of an output layer that is tied."""
    return type(module) in PRODUCTS if name == "__call__" else name == "attend" and type(module) is nn.Embed


def approximated(
    call: Callable[..., jax.Array],
    module: Any,
    method: Approximation,
    stream: str,
    labels: Any,
    *args: Any,
    **kwargs: Any,
) -> jax.Array:
    """What an interceptor returns for `module(*args, **kwargs)`, so that it is approximated by `method`.

    Where variables are initialised, the layer is exact; a hashed one gets its tables.

    Args:
        call: the exact layer's call; of an `nn.Embed`, of its `attend`.
        module: a layer whose class is one of `PRODUCTS`, or an `nn.Embed`.
        method: by which to approximate it.
        stream: the RNG stream to draw from.
        labels: for a `SampledSoftmax`; without them the layer is exact.
        *args, **kwargs: the arguments of the call.

    Raises:
        ValueError, flax.errors.InvalidRngError: as the layer that it becomes.
    """
    if isinstance(method, SampledSoftmax):
        if labels is None:
            return call(*args, **kwargs)
        loss_of = loss_of_embed if isinstance(module, nn.Embed) else loss_of_dense
        return loss_of(method, stream, False, labels, module, *args, **kwargs)
    if isinstance(method, ALSH):

        def choose(key: jax.Array, tables: Tables, weights: jax.Array, x: jax.Array, size: int) -> jax.Array:
            return method.active_set(key, tables, x, size)

        return call_hashed(method, choose, stream, False, module, *args, **kwargs)
    if module.is_initializing():
        return call(*args, **kwargs)
    return estimated(method, sample_key(module, stream), type(module), module, *args, **kwargs)
