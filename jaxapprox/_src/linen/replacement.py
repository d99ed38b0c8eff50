"""A call of an exact layer, approximated on the layer's own scope: by its parameters, recorded as its own."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.linen.hashed import ALSHDense
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
    if isinstance(method, MC):
        if module.is_initializing():
            return call(*args, **kwargs)
        return estimated(method, sample_key(module, stream), type(module), module, *args, **kwargs)
    names = {field.name for field in dataclasses.fields(nn.Dense)} - {"name", "parent"}
    own = {name: getattr(module, name) for name in names} | vars(method)
    hashed: Any = ALSHDense(**own, rng_collection=stream, parent=module.scope)
    return hashed(*args, deterministic=module.is_initializing(), **kwargs)
