r"""The softmax cross-entropy by candidates: a sum over all classes, estimated from some of them.

With y the label of an example, s its scores and E_c how often class c is expected among the candidates,

    Z^ = exp(s_y) + sum over candidates c, c != y, of exp(s_c) / E_c,        loss = log Z^ - s_y.

Z^ is right on average: E[Z^] = sum_c exp(s_c). Its logarithm, the loss, is too small on average (Jensen), by about
Var(Z^) / (2 Z^2), which goes to 0 as candidates grow, and is 0 where all classes are candidates, each once.
With `correct_labels` the label's score is s_y - log E_y as well, as if the label had been drawn: the usual sampled
softmax. Then Z^ estimates no sum over all classes, and the loss is another one, whose gradient goes to the exact one
as candidates grow.

References:
    Bengio, Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model, IEEE
    Trans. Neural Networks 2008.
    Jean, Cho, Memisevic, Bengio, On Using Very Large Target Vocabulary for Neural Machine Translation, ACL 2015.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.blockwise.active_rows import RowGradient
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.softmax.arguments import label_columns, label_shares, output_layer
from jaxapprox._src.softmax.candidates import Candidates
from jaxapprox._src.softmax.exact import mean_loss
from jaxapprox._src.softmax.rows import by_class, row_scores
from jaxapprox._src.softmax.shards import class_count, class_ids, local_rows, total
from jaxapprox._src.varying import same_varying


def sampled_cross_entropy(
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    labels: jax.Array,
    candidates: Candidates,
    *,
    correct_labels: bool = False,
    axis_name: str | None = None,
) -> jax.Array:
    """The softmax cross-entropy estimated from candidates; differentiable, with gradients as large as the weights.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import draw, log_uniform, sampled_cross_entropy
    >>> hidden, weights, labels = jnp.ones((2, 8)), jnp.zeros((1000, 8)), jnp.array([3, 5])
    >>> candidates = draw(jax.random.key(0), log_uniform(1000, 64), labels)
    >>> sampled_cross_entropy(hidden, weights, None, labels, candidates).shape
    (2,)

    Args:
        hidden, weights, bias, labels, axis_name: as for `cross_entropy`.
        candidates: from `draw`; over several devices each device's own, by the rows that it has of the weights. Those
            that are labels of an example are left out of its sum.
        correct_labels: take log(expected count) off the labels' scores too: see above.

    Returns:
        `(batch,)`.

    Raises:
        ValueError: if a shape does not fit.
    """
    operands = _operands(hidden, weights, bias, labels, candidates, correct_labels, axis_name)
    return split_as(split_of(operands[0], 1), lambda *operands: _loss(axis_name, *operands)[0], *operands)


def sampled_rows(
    hidden: jax.Array,
    weights: jax.Array,
    bias: jax.Array | None,
    labels: jax.Array,
    candidates: Candidates,
    *,
    correct_labels: bool = False,
    axis_name: str | None = None,
) -> tuple[jax.Array, Callable[[jax.Array], tuple[jax.Array, tuple[RowGradient, RowGradient]]]]:
    """The loss of `sampled_cross_entropy`, and its gradients by rows: no array of all classes is read or made.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.active_rows import to_blocks
    >>> from jaxapprox.softmax import draw, log_uniform, sampled_rows
    >>> hidden, weights, labels = jnp.ones((2, 8)), jnp.zeros((1000, 8)), jnp.array([3, 5])
    >>> candidates = draw(jax.random.key(0), log_uniform(1000, 64), labels)
    >>> loss, pull_back = sampled_rows(hidden, weights, None, labels, candidates)
    >>> dhidden, gradients = pull_back(jnp.full(2, 0.5))  # of the mean loss
    >>> blocks = to_blocks(gradients, units=1000)  # duplicates added up: for `jaxapprox.lazy`
    >>> blocks["weights"].values.shape
    (66, 8)

    Args:
        hidden, weights, bias, labels, candidates, correct_labels, axis_name: as for `sampled_cross_entropy`.

    Returns:
        `(batch,)`, and a function of the gradient in it, which gives the gradient in hidden, summed over the devices of
        the axis, and `RowGradient`s of the labels' rows and of the candidates'.

    Raises:
        ValueError: as for `sampled_cross_entropy`.
    """
    operands = _operands(hidden, weights, bias, labels, candidates, correct_labels, axis_name)

    def with_gradients(*operands):
        loss, gradients = _loss(axis_name, *operands)
        return loss, *gradients()

    hidden, ids = operands[0], operands[4]
    batch = split_of(hidden, 1)
    by_class = PartitionSpec(None, *batch)
    split = batch, batch, batch, by_class, by_class
    loss, dhidden, label_rows, of_labels, of_candidates = split_as(split, with_gradients, *operands)

    def pull_back(g):
        in_labels, in_candidates = ((g[None] * scores).T for scores in (of_labels, of_candidates))
        rows = RowGradient(label_rows, in_labels, hidden), RowGradient(ids, in_candidates, hidden)
        return (g[:, None] * dhidden).astype(hidden.dtype), rows

    return loss, pull_back


def _operands(hidden, weights, bias, labels, candidates, correct_labels, axis_name):
    """The arguments of `_loss`, checked."""
    hidden, weights, bias = output_layer(hidden, weights, bias)
    rows = weights.shape[0]
    columns = label_columns(labels, hidden.shape[0], class_count(rows, axis_name))
    _check(candidates, jnp.shape(labels), correct_labels)
    ids = jnp.where((candidates.ids >= 0) & (candidates.ids < rows), candidates.ids, rows).astype(jnp.int32)
    expected_labels = candidates.expected_labels.reshape(columns.shape) if correct_labels else None
    return hidden, weights, bias, columns, ids, candidates.expected, expected_labels


def _loss(axis_name, hidden, weights, bias, columns, ids, expected, expected_labels):
    """The loss of each example, and a function of its gradients.

    These are in hidden `(batch, features)`, summed over the axis, then the labels' rows `(batch, m)`, the gradient in
    their scores `(m, batch)`, and that in candidates' scores `(size, batch)`: no loss hangs on other examples' scores.
    """
    rows = weights.shape[0]
    of_labels, pull_labels = row_scores(hidden, weights, bias, local_rows(columns, rows, axis_name))
    of_candidates, pull_candidates = row_scores(hidden, weights, bias, ids)

    is_hit = jnp.any(by_class(class_ids(ids, axis_name))[:, None, :] == columns.T[None], 1)
    is_negative = by_class(ids < rows) & by_class(expected > 0) & ~is_hit
    correction = jnp.log(by_class(expected))
    label_correction = 0.0 if expected_labels is None else jnp.log(expected_labels)

    def loss(of_labels, of_candidates):
        return _of_scores(
            total(of_labels.T, axis_name) - label_correction,
            jnp.where(is_negative, of_candidates - correction, -jnp.inf),
            columns,
            class_count(rows, axis_name),
            axis_name,
        )

    value, of_loss = jax.vjp(loss, of_labels, of_candidates)

    def gradients():
        in_labels, in_candidates = of_loss(same_varying(jnp.ones_like(value), value)[0])
        from_labels, of_labels = pull_labels(in_labels)
        from_candidates, of_candidates = pull_candidates(in_candidates)
        dhidden = total(from_labels + from_candidates, axis_name)
        return dhidden, of_labels.ids, of_labels.coefficients.T, of_candidates.coefficients.T

    return value, gradients


def _of_scores(of_labels, negatives, labels, classes, axis_name):
    """The loss, from scores of labels `(batch, m)`, the same on all devices, and a device's negatives `(n, batch)`."""
    earlier = jnp.tril(jnp.ones((labels.shape[1],) * 2, bool), -1)
    is_first = ~jnp.any((labels[:, :, None] == labels[:, None, :]) & earlier[None], 2)
    counted = jnp.where(is_first & (labels != -1), of_labels, -jnp.inf)  # a label that is there twice is one class
    largest = lax.stop_gradient(jnp.maximum(jnp.max(counted, 1), jnp.max(negatives, 0, initial=-jnp.inf)))
    largest = largest if axis_name is None else lax.pmax(largest, axis_name)
    shift = jnp.where(jnp.isneginf(largest), 0, largest)
    of_negatives = total(jnp.sum(jnp.exp(negatives - shift[None]), 0), axis_name)
    sums = jnp.sum(jnp.exp(counted - shift[:, None]), 1) + of_negatives
    return mean_loss(shift + jnp.log(sums), of_labels, label_shares(labels, classes))


def _check(candidates: Candidates, labels: tuple[int, ...], correct_labels: bool) -> None:
    shape, dtype = jnp.shape(candidates.ids), jnp.result_type(candidates.ids)
    if shape[:-1] not in ((), labels[:1]) or not shape or not jnp.issubdtype(dtype, jnp.integer):
        raise ValueError(f"candidates.ids must be integers (size,) or ({labels[0]}, size), got shape {shape}, {dtype}")
    if jnp.shape(candidates.expected) != shape:
        got = jnp.shape(candidates.expected)
        raise ValueError(f"candidates.expected must have the shape of ids, {shape}, got {got}")
    if correct_labels:
        of_labels = candidates.expected_labels
        if of_labels is None or jnp.shape(of_labels) != labels:
            given = None if of_labels is None else jnp.shape(of_labels)
            raise ValueError(f"candidates.expected_labels must have the shape of labels, {labels}, got {given}")
