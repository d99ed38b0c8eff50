"""How well an output layer does, exactly, and the classes of highest score, in blocks of classes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_int
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.row_blocks import over_blocks, take_block
from jaxapprox._src.softmax.arguments import label_columns, label_shares, output_layer
from jaxapprox._src.softmax.class_blocks import fold, nothing_summed, scores
from jaxapprox._src.softmax.exact import mean_loss
from jaxapprox._src.softmax.rows import row_scores
from jaxapprox._src.softmax.shards import class_count, class_ids, local_rows, log_total, total
from jaxapprox._src.varying import same_varying


class Evaluation(NamedTuple):
    """What `evaluate` returns.

    Attributes:
        loss: `(batch,)`, the softmax cross-entropy.
        rank: int32 shaped as the labels, how many other classes have a score that is not below the label's: it is among
            the first k classes where that is below k. Ties and NaN count against it (scores that are
            equal but for rounding may fall on either side); a label that is out of range, or whose score is NaN, has as
            its rank the number of classes.
    """

    loss: jax.Array
    rank: jax.Array


def evaluate(
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    labels: jax.Array,
    *,
    block_size: int | None = None,
    axis_name: str | None = None,
) -> Evaluation:
    """The exact loss and the labels' ranks, in one pass over blocks of classes.

    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import evaluate
    >>> hidden, weights = jnp.ones((2, 1)), jnp.arange(4.0)[:, None]
    >>> evaluate(hidden, weights, None, jnp.array([3, 1])).rank.tolist()
    [0, 2]

    Args:
        hidden, weights, bias, labels, block_size, axis_name: as for `cross_entropy`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: as for `cross_entropy`.
    """
    hidden, weights, bias = output_layer(hidden, weights, bias)
    classes = class_count(weights.shape[0], axis_name)
    columns = label_columns(labels, hidden.shape[0], classes)

    def evaluated(hidden, weights, bias, columns):
        rows = local_rows(columns, weights.shape[0], axis_name)
        hidden, weights, bias, rows = same_varying(hidden, weights, bias, rows)
        of_labels = total(row_scores(hidden, weights, bias, rows)[0].T, axis_name)

        def add(carry, first, size):
            summed, not_below = carry
            block = scores(hidden, take_block(weights, first, size), take_block(bias, first, size))
            ids = first + jnp.arange(size, dtype=jnp.int32)
            is_other = ids[:, None, None] != rows[None]
            above = jnp.sum(~(block[:, :, None] < of_labels[None]) & is_other, 0, dtype=jnp.int32)
            return fold(summed, block), not_below + above

        empty = same_varying(nothing_summed(hidden, weights), jnp.zeros(rows.shape, jnp.int32), rows)[:2]
        (largest, scaled), not_below = over_blocks(add, empty, weights.shape[0], block_size)
        log_sums = log_total(largest + jnp.log(scaled), axis_name)
        is_scored = (columns >= 0) & (columns < classes) & ~jnp.isnan(of_labels)
        rank = jnp.where(is_scored, total(not_below, axis_name), classes)
        loss = mean_loss(log_sums, of_labels, label_shares(columns, classes))
        return Evaluation(loss, rank.reshape(jnp.shape(labels)))

    return split_as(split_of(hidden, 1), evaluated, hidden, weights, bias, columns)


def top_k(
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    k: int,
    *,
    block_size: int | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The k classes of highest score, exactly, in blocks of classes.

    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import top_k
    >>> scores, ids = top_k(jnp.ones((1, 1)), jnp.arange(1000.0)[:, None], None, 3)
    >>> ids.tolist()
    [[999, 998, 997]]

    Args:
        hidden, weights, bias, block_size, axis_name: as for `cross_entropy`.
        k: from 1 to the number of classes (over several devices, of a device's).

    Returns:
        `(batch, k)` scores, from the highest on, and `(batch, k)` int32 classes; of equal scores the lower class first.
        A score of -inf is none: its place has an id past the last class.

    Raises:
        ValueError: if an argument is not as above.
    """
    hidden, weights, bias = output_layer(hidden, weights, bias)
    check_int("k", k, weights.shape[0])

    def found(hidden, weights, bias):
        def add(carry, first, size):
            block = scores(hidden, take_block(weights, first, size), take_block(bias, first, size)).T
            rows = jnp.broadcast_to(first + jnp.arange(size, dtype=jnp.int32), block.shape)
            return best(k, [carry[0], block], [carry[1], rows])

        batch = hidden.shape[0]
        none = (
            jnp.full((batch, k), -jnp.inf, nothing_summed(hidden, weights)[0].dtype),
            jnp.full((batch, k), weights.shape[0], jnp.int32),
        )
        values, rows = over_blocks(add, same_varying(none, hidden, weights)[0], weights.shape[0], block_size)
        ids = class_ids(rows, axis_name)
        if axis_name is None:
            return values, ids
        everyone = (lax.all_gather(a, axis_name, axis=1, tiled=True) for a in (values, ids))
        values, ids = (total(jnp.where(lax.axis_index(axis_name) == 0, a, 0), axis_name) for a in everyone)
        return best(k, [values], [ids])

    return split_as(split_of(hidden, 1), found, hidden, weights, bias)


def best(k: int, values: list[jax.Array], ids: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The k largest of the values `(batch, n)`, and their ids."""
    best, places = lax.top_k(jnp.concatenate(values, 1), k)
    return best, jnp.take_along_axis(jnp.concatenate(ids, 1), places, 1)
