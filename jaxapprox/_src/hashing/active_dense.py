"""A dense layer that computes for each example its active units only."""

import functools
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxapprox._src.checks import check_choice


def active_dense(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, ids: jax.Array, *, form: str = "gathered"
) -> jax.Array:
    """`x @ kernel + bias` at the units `ids`, and exactly 0 at all others.

    Gradients reach the weights of the active units only.

    Args:
        x: `(batch, in)`, any floating dtype.
        kernel: `(in, units)`.
        bias: `(units,)` or None.
        ids: `(batch, size)` int32, distinct in each row, or `(size,)` for one set shared by the batch.
        form: "gathered" computes the active units alone; "masked" computes all and zeroes the rest, for layers so small
            that a gather costs more than the product. Their results differ by rounding only.

    Returns:
        `(batch, units)` in the dtype of x.

    Raises:
        ValueError: if `form` is not one of those above.
    """
    check_choice("form", form, tuple(_FORMS))
    per_example = functools.partial(_FORMS[form], kernel, bias)
    return jax.vmap(per_example, in_axes=(0, 0 if ids.ndim == 2 else None))(x, ids)


def _gathered(kernel: jax.Array, bias: jax.Array | None, x: jax.Array, ids: jax.Array) -> jax.Array:
    active = x @ jnp.take(kernel, ids, axis=1, mode="clip")
    active = active if bias is None else active + jnp.take(bias, ids, mode="clip")
    return jnp.zeros(kernel.shape[1], active.dtype).at[ids].set(active, unique_indices=True)


def _masked(kernel: jax.Array, bias: jax.Array | None, x: jax.Array, ids: jax.Array) -> jax.Array:
    y = x @ kernel
    y = y if bias is None else y + bias
    return jnp.where(jnp.zeros(y.shape, bool).at[ids].set(True), y, 0)


class _Form(Protocol):
    """`active_dense` for one example x `(in,)` and its ids `(size,)`."""

    def __call__(self, kernel: jax.Array, bias: jax.Array | None, x: jax.Array, ids: jax.Array, /) -> jax.Array: ...


_FORMS: dict[str, _Form] = {"gathered": _gathered, "masked": _masked}
