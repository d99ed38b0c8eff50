"""Checks of arguments. Each raises a ValueError of one line: the argument, what it must be and what it was."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def check_int(name: str, value: int, most: int | None) -> None:
    """Refuses all but whole numbers from 1 to `most`, if there is a limit."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1 or (most and value > most):
        limits = "a positive integer" if most is None else f"an integer between 1 and {most}"
        raise ValueError(f"{name} must be {limits}, got {value!r}")


def check_share(name: str, value: float) -> None:
    """Refuses all but numbers in (0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value <= 1:
        raise ValueError(f"{name} must be a number in (0, 1], got {value!r}")


def check_weights(weights: jax.Array, shape: tuple[int, int] | None) -> None:
    """Refuses all but floating `(units, features)`, of `shape` if it is given."""
    if getattr(weights, "ndim", None) != 2 or 0 in weights.shape or not jnp.issubdtype(weights.dtype, jnp.floating):
        got = f"shape {np.shape(weights)}, {getattr(weights, 'dtype', type(weights).__name__)}"
        raise ValueError(f"weights must be a floating array (units, features), got {got}")
    if shape is not None and weights.shape != shape:
        raise ValueError(f"weights must have the shape the tables were built for, {shape}, got {weights.shape}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuses all but the choices, values that can't be hashed among them."""
    if value not in tuple(choices):
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_key(key: jax.Array) -> None:
    """Refuses all but a single PRNG key, typed or raw."""
    shape = getattr(key, "shape", None)
    is_typed = shape is not None and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    is_raw = shape is not None and key.dtype == jnp.uint32 and len(shape) == 1
    if not (is_raw or (is_typed and shape == ())):
        raise ValueError(f"key must be one PRNG key, as jax.random.key(0) gives, got {key!r}")


def check_operands(x: jax.Array, kernel: jax.Array) -> None:
    """Refuses all but two arrays of one floating dtype."""
    for name, a in (("x", x), ("kernel", kernel)):
        if not hasattr(a, "dtype") or not jnp.issubdtype(a.dtype, jnp.floating):
            raise ValueError(f"{name} must be an array of a floating dtype, got {getattr(a, 'dtype', type(a))}")
    if x.dtype != kernel.dtype:
        raise ValueError(f"kernel must have the dtype of x ({x.dtype}), got {kernel.dtype}")
