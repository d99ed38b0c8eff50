"""A call of an exact layer, approximated on the layer's own scope: by its parameters, recorded as its own."""

from collections.abc import Callable
from typing import Any

import jax

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.linen.hashed import call_hashed
from jaxapprox._src.linen.products import estimated
from jaxapprox._src.linen.rng import sample_key


def approximated(
    call: Callable[..., jax.Array], module: Any, method: Approximation, stream: str, *args: Any, **kwargs: Any
) -> jax.Array:
    """What an interceptor returns for `module(*args, **kwargs)`, so that it is approximated by `method`.

    Where variables are initialised, the layer is exact; a hashed one gets its tables.

    Args:
        call: the exact layer's call.
        module: a layer whose class is one of `PRODUCTS`.
        method: by which to approximate it.
        stream: the RNG stream to draw from.
        *args, **kwargs: the arguments of the call.

    Raises:
        ValueError, flax.errors.InvalidRngError: as the layer that it becomes.
    """
    if isinstance(method, ALSH):

        def choose(key: jax.Array, tables: Tables, weights: jax.Array, x: jax.Array, size: int) -> jax.Array:
            return method.active_set(key, tables, x, size)

        return call_hashed(method, choose, stream, False, module, *args, **kwargs)
    if module.is_initializing():
        return call(*args, **kwargs)
    return estimated(method, sample_key(module, stream), type(module), module, *args, **kwargs)
