"""A dense layer of which each example computes its active units only; the others are exactly 0, bias included."""

import jax
import jax.numpy as jnp

FORMS = ("gathered", "masked")


def active_dense(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, ids: jax.Array, *, form: str = "gathered"
) -> jax.Array:
    """`x @ kernel + bias` at the units `ids`, and 0 at all others; gradients reach the active units' weights only.

    Args:
        x: `(batch, in)`, any floating dtype.
        kernel: `(in, units)`.
        bias: `(units,)` or None.
        ids: `(batch, size)` int32, distinct in each row, or `(size,)` for one set shared by the batch.
        form: "gathered" computes the active units alone; "masked" computes all and zeroes the rest, which is the
            faster one for small layers on an accelerator. Their results differ by rounding only.

    Returns:
        `(batch, units)` in the dtype of x.

    Raises:
        ValueError: if `form` is not one of these.
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if form == "masked":
        y = x @ kernel
        y = y if bias is None else y + bias[None, :]
        return jnp.where(_is_active(ids, *y.shape), y, 0)
    if ids.ndim == 1:
        active = x @ jnp.take(kernel, ids, axis=1, mode="clip")
        active = active if bias is None else active + bias[ids][None, :]
        return jnp.zeros((x.shape[0], kernel.shape[1]), active.dtype).at[:, ids].set(active, unique_indices=True)

    def one(x, ids):
        active = x @ jnp.take(kernel, ids, axis=1, mode="clip")
        active = active if bias is None else active + bias[ids]
        return jnp.zeros(kernel.shape[1], active.dtype).at[ids].set(active, unique_indices=True)

    return jax.vmap(one)(x, ids)


def _is_active(ids: jax.Array, batch: int, units: int) -> jax.Array:
    """`(batch, units)`, or `(1, units)` for a shared set."""
    if ids.ndim == 1:
        return jnp.zeros(units, bool).at[ids].set(True)[None, :]
    return jnp.zeros((batch, units), bool).at[jnp.arange(batch)[:, None], ids].set(True)
