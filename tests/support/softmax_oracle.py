"""Losses of wide output layers by their definitions: slow float64 NumPy, one example and one class after another.

All of them are one formula. Class c counts `class_weights[b, c]` times in the partition sum of example b:

    loss_b = log(sum_c W_bc exp(s_bc)) - mean over the labels l of b of (s_bl + log W_bl),    s_bc = w_c . h_b + bias_c

with W = 1 in the exact loss; a sampled one has 1 / expected for each candidate that is no label of the example.
"""

import numpy as np


def scores(hidden, weights, bias):
    """`(batch, classes)`."""
    hidden, weights = np.float64(hidden), np.float64(weights)
    return hidden @ weights.T + (0 if bias is None else np.float64(bias))


def labels_of(labels):
    """A list for each example: its used labels, repeated ones as often as they are given. Without any the loss is 0."""
    return [[int(label) for label in np.ravel(row) if label >= 0] for row in np.asarray(labels)]


def class_weights(classes, labels, ids, expected, expected_labels=None):
    """How often each class counts in the sampled partition sum of each example: `(batch, classes)`.

    Args:
        classes: how many there are; an id past the last one is an unused slot.
        labels: `(batch,)` or `(batch, m)`; -1 in the latter is an unused slot.
        ids, expected: `(size,)` or `(batch, size)`: candidates, also repeated ones, and their expected counts.
        expected_labels: of the shape of `labels`, where the label is to be weighed as candidates are; it counts once
            otherwise.
    """
    batch = len(labels)
    ids, expected = (np.broadcast_to(a, (batch, np.shape(a)[-1])) for a in (ids, np.float64(expected)))
    result = np.zeros((batch, classes))
    for b, own in enumerate(labels_of(labels)):
        for c, e in zip(ids[b], expected[b], strict=True):
            if c < classes and c not in own:
                result[b, c] += 1 / e
        result[b, own] = 1
        if expected_labels is not None:
            for label, e in zip(np.ravel(labels[b]), np.ravel(expected_labels[b]), strict=True):
                if label >= 0:
                    result[b, label] = 1 / float(e)
    return result


def loss(hidden, weights, bias, labels, class_weights=None):
    """`(batch,)`; the exact cross entropy without `class_weights`."""
    s = scores(hidden, weights, bias)
    w = np.ones_like(s) if class_weights is None else class_weights
    result = np.zeros(len(s))
    for b, own in enumerate(labels_of(labels)):
        if not own:
            continue
        highest = s[b, w[b] > 0].max()
        partition = sum(w[b, c] * np.exp(s[b, c] - highest) for c in np.flatnonzero(w[b]))
        result[b] = highest + np.log(partition) - np.mean([s[b, label] + np.log(w[b, label]) for label in own])
    return result


def gradients(g, hidden, weights, bias, labels, class_weights=None):
    """The gradients of sum(g * loss) in hidden, weights and bias, the last also where there is no bias."""
    s = scores(hidden, weights, bias)
    w = np.ones_like(s) if class_weights is None else class_weights
    d_scores = np.zeros_like(s)
    for b, own in enumerate(labels_of(labels)):
        if not own:
            continue
        counted = np.flatnonzero(w[b])
        terms = np.zeros(len(w[b]))
        terms[counted] = w[b, counted] * np.exp(s[b, counted] - s[b, counted].max())
        d_scores[b] = terms / terms.sum()
        for label in own:
            d_scores[b, label] -= 1 / len(own)
        d_scores[b] *= np.float64(g)[b]
    return d_scores @ np.float64(weights), d_scores.T @ np.float64(hidden), d_scores.sum(0)


def rank(s, labels):
    """The number of other classes that are not below the label, by scores `(batch, classes)`; NaN is below nothing."""
    result = []
    for row, label in zip(s, labels, strict=True):
        others = [c for c in range(len(row)) if c != label]
        result.append(len(row) if np.isnan(row[label]) else sum(not row[c] < row[label] for c in others))
    return np.array(result)


def expected_counts(probabilities, size):
    """min(1, lambda p) of which the sum is `size`, lambda by bisection; a class of probability 0 stays at 0."""
    p = np.float64(probabilities)
    low, high = 0.0, 2 * size / p[p > 0].min()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, middle * p).sum() < size else (low, middle)
    return np.minimum(1, high * p)


def counts(ids, classes):
    """How often each class is in each draw `(draws, size)`: `(draws, classes)`."""
    result = np.zeros((len(ids), classes + 1))
    np.add.at(result, (np.arange(len(ids))[:, None], np.minimum(ids, classes)), 1)
    return result[:, :classes]


def dense(gradients, classes):
    """Row gradients as the arrays that they are factors of: `(classes, features)` and `(classes,)`, all added up."""
    d_weights, d_bias = 0.0, np.zeros(classes + 1)
    for ids, coefficients, x in gradients:
        coefficients, x = np.float64(coefficients), np.float64(x)
        ids = np.minimum(np.broadcast_to(ids, coefficients.shape), classes)
        own = np.zeros((classes + 1, x.shape[1]))
        for b in range(len(x)):
            for c, coefficient in zip(ids[b], coefficients[b], strict=True):
                own[c] += coefficient * x[b]
                d_bias[c] += coefficient
        d_weights = d_weights + own
    return d_weights[:classes], d_bias[:classes]
