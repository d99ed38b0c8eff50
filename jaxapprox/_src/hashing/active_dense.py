"""A dense layer that computes for each example its active units only."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxapprox._src.checks import check_choice
from jaxapprox._src.explicit_axes import split_as, split_of

FORMS = ("auto", "gathered", "masked")
# On a CPU, forward and backward, the gathered form took 0.2 to 0.8 times as long as the masked one where it read a
# twentieth of as many columns as the kernel has, 0.7 to 5 times at a fifth, up to 60 times beyond (256 to 1,024 inputs,
# 1,000 to 16,384 units, batches of 1 to 64, own sets and shared ones).
_GATHERS_UP_TO = 1 / 16


def active_dense(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, ids: jax.Array, *, form: str = "auto"
) -> jax.Array:
    """`x @ kernel + bias` at the units `ids`, and exactly 0 at all others.

    Gradients reach the weights of the active units only.

    Args:
        x: `(batch, in)`, any floating dtype.
        kernel: `(in, units)`.
        bias: `(units,)` or None.
        ids: `(batch, size)` int32, distinct in each row, or `(size,)` for one set shared by the batch.
        form: "gathered" computes the active units alone, from a copy of their columns of the kernel for each set.
            "masked" computes all and zeroes the rest: faster, and in less memory, unless the sets are few and small.
            "auto" is "gathered" where the sets together have at most a sixteenth of as many units as the layer, and
            otherwise "masked". Their results differ by rounding only.

    Returns:
        `(batch, units)` in the dtype of x.

    Raises:
        ValueError: if `form` is not one of those above.
    """
    check_choice("form", form, FORMS)
    y = gathered_product(x, kernel, ids) if gathers(form, ids, kernel.shape[1]) else jnp.matmul(x, kernel)
    return keep_active(y if bias is None else y + bias[None], ids)


def gathers(form: str, ids: jax.Array, units: int) -> bool:
    """Whether a layer with these active sets is computed in the gathered form."""
    return form == "gathered" or (form == "auto" and ids.size <= _GATHERS_UP_TO * units)


def gathered_product(
    x: jax.Array, kernel: jax.Array, ids: jax.Array, *, out_sharding: Any = None, **settings: Any
) -> jax.Array:
    """`x @ kernel` at the units `ids`, and 0 at all others.

    Args:
        x: `(*batch, in)`.
        kernel: `(in, units)`.
        ids: `(examples, size)` int32, or `(size,)`.
        out_sharding: as in `lax.dot_general`.
        **settings: of `jnp.matmul`.

    Returns:
        `(*batch, units)`.
    """

    def one(kernel, x, ids):
        active = jnp.matmul(x, jnp.take(kernel, ids, axis=1, mode="clip"), **settings)
        return jnp.zeros(kernel.shape[1], active.dtype).at[ids].set(active, unique_indices=True)

    def product(x, kernel, ids):
        examples = x.reshape(-1, x.shape[-1])
        y = jax.vmap(functools.partial(one, kernel), in_axes=(0, 0 if ids.ndim == 2 else None))(examples, ids)
        return y.reshape(*x.shape[:-1], kernel.shape[1])

    split = split_of(x, x.ndim - 1) if out_sharding is None else getattr(out_sharding, "spec", out_sharding)
    return split_as(split, product, x, kernel, ids)


def keep_active(y: jax.Array, ids: jax.Array) -> jax.Array:
    """The outputs of the units `ids`, and exactly 0 at all others.

    Args:
        y: `(*batch, units)`.
        ids: `(examples, size)` int32, or `(size,)`.
    """

    def is_active(ids):
        one_set = jax.vmap(lambda ids: jnp.zeros(y.shape[-1], bool).at[ids].set(True))
        return one_set(ids).reshape(y.shape) if ids.ndim == 2 else jnp.broadcast_to(one_set(ids[None])[0], y.shape)

    return jnp.where(split_as(split_of(y, y.ndim), is_active, ids), y, 0)
