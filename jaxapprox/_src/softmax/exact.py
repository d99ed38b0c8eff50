r"""The softmax cross-entropy of all classes, block by block.

loss_b = log sum_c exp(s_bc) - s_{b, label_b},    s_bc = w_c . h_b + bias_c.

Only `(batch, block)` scores are there at a time, in the forward pass and again in the backward pass, which computes
them anew and takes the logarithms of the sums from the forward pass.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.row_blocks import over_blocks, take_block
from jaxapprox._src.softmax.arguments import label_columns, label_shares, output_layer
from jaxapprox._src.softmax.class_blocks import log_sum, product, scores
from jaxapprox._src.softmax.rows import row_scores
from jaxapprox._src.softmax.shards import class_count, local_rows, log_total, total
from jaxapprox._src.varying import same_varying


def cross_entropy(
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    labels: jax.Array,
    *,
    block_size: int | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """The exact softmax cross-entropy, in blocks of classes; its gradient by reverse-mode autodiff is in blocks too.

    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import cross_entropy
    >>> hidden, weights = jnp.ones((1, 2)), jnp.zeros((1000, 2))
    >>> print(jnp.exp(cross_entropy(hidden, weights, None, jnp.array([7]))).round(2))
    [1000.]

    Args:
        hidden: `(batch, features)`, any floating dtype, to which the weights are cast as they are read; sums are
            in float32 at least, and gradients have the dtypes of what they are in.
        weights: `(classes, features)`.
        bias: `(classes,)` or None.
        labels: `(batch,)` or `(batch, m)` integers: for several labels the loss is the mean of their losses. -1 is an
            unused slot; an example without a label has a loss of 0. Other values out of range raise an error where they
            are known, and under `jit` make the example's loss NaN and its gradient 0.
        block_size: classes in a block; by default 4,096 on a CPU, in whose cache their scores for a batch of 128 stay,
            and 65,536 elsewhere.
        axis_name: within `jax.shard_map`, the mesh axis over which the classes are split as by `shard_classes`; hidden
            and labels are the same along it. The gradient in hidden is summed over it by shard_map's default checks.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: if an argument is not as above.
    """
    hidden, weights, bias = output_layer(hidden, weights, bias)
    classes = class_count(weights.shape[0], axis_name)
    labels = label_columns(labels, hidden.shape[0], classes)

    def loss(hidden, weights, bias, labels):
        rows = local_rows(labels, weights.shape[0], axis_name)
        log_sums, of_labels = _log_sums_and_scores(block_size, *same_varying(hidden, weights, bias, rows))
        return mean_loss(log_total(log_sums, axis_name), total(of_labels, axis_name), label_shares(labels, classes))

    return split_as(split_of(hidden, 1), loss, hidden, weights, bias, labels)


def mean_loss(log_sums: jax.Array, of_labels: jax.Array, shares: jax.Array) -> jax.Array:
    """The mean over an example's labels of log_sum - score; `shares` as from `label_shares`.

    Where a share is NaN the loss is, and its gradient is 0, so that the example moves no weights.
    """
    known = jnp.nan_to_num(shares)
    loss = jnp.sum(jnp.where(known == 0, 0, known * (log_sums[:, None] - of_labels)), 1)
    return jnp.where(jnp.any(jnp.isnan(shares), 1), jnp.nan, loss)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _log_sums_and_scores(
    block_size: int | None, hidden: jax.Array, weights: jax.Array, bias: jax.Array, rows: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """log of the sum of exp(score) over the classes, `(batch,)`, and the scores of `rows`, `(batch, m)`."""
    return log_sum(hidden, weights, bias, block_size), row_scores(hidden, weights, bias, rows)[0].T


def _forward(block_size: int | None, *layer: Any) -> tuple[Any, Any]:
    values = _log_sums_and_scores(block_size, *layer)
    return values, (*layer, values[0])


def _backward(block_size: int | None, kept: Any, g: Any) -> tuple[Any, ...]:
    hidden, weights, bias, rows, log_sums = kept
    of_sums, of_rows = g

    def add(carry, first, size):
        dhidden, dweights, dbias = carry
        own, own_bias = take_block(weights, first, size), take_block(bias, first, size)
        dscores = jnp.exp(scores(hidden, own, own_bias) - log_sums[None]) * of_sums[None]
        dhidden += product(dscores.T, own)
        dweights = lax.dynamic_update_slice_in_dim(dweights, product(dscores, hidden).astype(own.dtype), first, 0)
        of_bias = jnp.sum(dscores, 1).astype(own_bias.dtype)
        return dhidden, dweights, lax.dynamic_update_slice_in_dim(dbias, of_bias, first, 0)

    empty = jnp.zeros(hidden.shape, of_sums.dtype), jnp.zeros_like(weights), jnp.zeros_like(bias)
    dhidden, dweights, dbias = over_blocks(add, same_varying(empty, kept)[0], weights.shape[0], block_size)
    of_hidden, gradient = row_scores(hidden, weights, bias, rows)[1](of_rows.T)
    dhidden = (dhidden + of_hidden).astype(hidden.dtype)
    values = gradient.coefficients[:, :, None] * hidden[:, None, :]
    dweights = dweights.at[rows].add(values.astype(weights.dtype), mode="drop")
    dbias = dbias.at[rows].add(gradient.coefficients.astype(bias.dtype), mode="drop")
    return dhidden, dweights, dbias, None


_log_sums_and_scores.defvjp(_forward, _backward)
