"""Output layers whose classes are split over devices: a program that prints a line of JSON for each check.

A process of its own, because JAX has to know the number of devices before it starts: two parts of the batch times four
of the classes. The reference is NumPy's, of the whole layer on one device.
"""

import jax

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp
import numpy as np
import softmax_oracle as oracle
from device_program import run
from jax.sharding import PartitionSpec as P
from oracles import vectors
from quick_compilation import jit

from jaxapprox.softmax import (
    Candidates,
    by_frequency,
    cross_entropy,
    draw,
    evaluate,
    sampled_cross_entropy,
    sampled_rows,
    shard_classes,
    top_k,
    unshard_classes,
)

CLASSES, BATCH, FEATURES, PARTS, DEVICES = 20, 6, 3, 2, 4
ROWS = CLASSES // DEVICES  # of a device
K = ROWS  # classes of highest score, at most as many
HIDDEN, WEIGHTS, BIAS = vectors(0, BATCH, FEATURES), vectors(1, CLASSES, FEATURES), vectors(2, 1, CLASSES)[0]
ONE = np.array([3, 19, 0, 3, 7, 16], np.int32)
SEVERAL = np.array([[3, -1], [19, 2], [0, 1], [-1, -1], [-1, 7], [16, 16]], np.int32)
G = np.linspace(-1, 2, BATCH).astype(np.float32)
# Local rows on each device: hits, duplicates and, as row 5, unused slots; and what is expected of them.
CANDIDATES = np.array([[0, 1, 4, 4], [0, 2, 2, ROWS], [1, 4, 3, 0], [4, 0, ROWS, ROWS]], np.int32)
EXPECTED = np.random.default_rng(0).uniform(0.1, 1, CLASSES).astype(np.float32)
SPLIT, BY_CLASS = P("data"), P("classes")


def mapped(function, in_specs, out_specs):
    mesh = jax.make_mesh((PARTS, DEVICES), ("data", "classes"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    return jit(jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs))


LAYER = (SPLIT, BY_CLASS, BY_CLASS)


def layer(scale=1.0):
    """Hidden, weights and bias, the latter two in the order of the devices."""
    return HIDDEN, shard_classes(jnp.asarray(WEIGHTS * scale), DEVICES), shard_classes(jnp.asarray(BIAS), DEVICES)


def of_union(labels, corrected):
    """The weights of classes that the candidates of all devices have together."""
    ids, expected = [], []
    for device, rows in enumerate(CANDIDATES):
        own = [DEVICES * row + device for row in rows if row < ROWS]
        ids, expected = ids + own, expected + EXPECTED[own].tolist()
    return oracle.class_weights(CLASSES, labels, ids, expected, EXPECTED[labels] if corrected else None)


def candidates(labels):
    classes = DEVICES * CANDIDATES + np.arange(DEVICES)[:, None]
    expected = EXPECTED[np.minimum(classes, CLASSES - 1)]
    return Candidates(CANDIDATES.reshape(-1), expected.reshape(-1), EXPECTED[labels])


def close(actual, expected):
    np.testing.assert_allclose(np.float64(actual), expected, rtol=2e-5, atol=2e-5)


def check_gradients(gradients, labels, class_weights=None, weights=WEIGHTS):
    expected = oracle.gradients(G, HIDDEN, weights, BIAS, labels, class_weights)
    close(gradients[0], expected[0])
    for own, right in zip(gradients[1:], expected[1:], strict=True):
        close(unshard_classes(jnp.asarray(own), DEVICES), right)


def exact(labels):
    """Loss and gradients, those in hidden summed over the classes' devices, those in weights over the batch's."""

    def function(hidden, weights, bias, labels, g):
        def of(*layer):
            return cross_entropy(*layer, labels, block_size=2, axis_name="classes")

        loss, pull_back = jax.vjp(of, hidden, weights, bias)
        return loss, pull_back(g)

    loss, gradients = mapped(function, (*LAYER, SPLIT, SPLIT), (SPLIT, LAYER))(*layer(), labels, G)
    close(loss, oracle.loss(HIDDEN, WEIGHTS, BIAS, labels))
    check_gradients(gradients, labels)


def sampled(labels, correct_labels):
    """The loss of the candidates of all devices, and its gradients, by autodiff and by rows."""
    scheme = Candidates(BY_CLASS, BY_CLASS, SPLIT)
    settings = {"correct_labels": correct_labels, "axis_name": "classes"}

    def function(hidden, weights, bias, labels, candidates, g):
        def of(*layer):
            return sampled_cross_entropy(*layer, labels, candidates, **settings)

        loss, pull_back = jax.vjp(of, hidden, weights, bias)
        loss_too, pull_rows = sampled_rows(hidden, weights, bias, labels, candidates, **settings)
        d_hidden, rows = pull_rows(g)
        return loss, pull_back(g), loss_too, d_hidden, jax.tree.map(lambda leaf: leaf[None, None], rows)

    out_specs = (SPLIT, LAYER, SPLIT, SPLIT, P("data", "classes"))
    function = mapped(function, (*LAYER, SPLIT, scheme, SPLIT), out_specs)
    loss, gradients, loss_too, d_hidden, rows = function(*layer(), labels, candidates(labels), G)
    class_weights = of_union(labels, correct_labels)
    for own in (loss, loss_too):
        close(own, oracle.loss(HIDDEN, WEIGHTS, BIAS, labels, class_weights))
    check_gradients(gradients, labels, class_weights)
    by_device = []
    for device in range(DEVICES):
        of_parts = []
        for part in range(PARTS):
            own = jax.tree.map(lambda leaf, at=(part, device): np.asarray(leaf)[at], rows)
            assert all(np.min(gradient.ids) >= 0 for gradient in own), "a negative id wraps to another class"
            of_parts.append(oracle.dense(own, ROWS))
        by_device.append([sum(of_part) for of_part in zip(*of_parts, strict=True)])
    together = [np.concatenate(of_device) for of_device in zip(*by_device, strict=True)]
    check_gradients((d_hidden, *together), labels, class_weights)


def drawn():
    """Each device draws from its own classes: the loss is that of the union of what they drew."""
    split = np.asarray(shard_classes(jnp.asarray(EXPECTED), DEVICES)).reshape(DEVICES, ROWS)
    proposals = [by_frequency(own, 3) for own in split]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *proposals)

    def function(hidden, weights, bias, labels, key, proposals):
        own = jax.random.fold_in(key, jax.lax.axis_index("classes"))
        proposal = jax.tree.map(lambda leaf: leaf[0], proposals)
        candidates = draw(own, proposal, labels)
        loss = sampled_cross_entropy(hidden, weights, bias, labels, candidates, axis_name="classes")
        return loss, candidates.ids[None], candidates.expected[None]

    function = mapped(function, (*LAYER, SPLIT, P(), BY_CLASS), (SPLIT, BY_CLASS, BY_CLASS))
    loss, rows, expected = function(*layer(), ONE, jax.random.key(0), stacked)
    ids = np.asarray(rows) * DEVICES + np.arange(DEVICES)[:, None]
    assert ids.shape == (DEVICES, 3) and len({tuple(own) for own in np.asarray(rows).tolist()}) > 1
    class_weights = oracle.class_weights(CLASSES, ONE, ids.ravel(), np.ravel(expected))
    close(loss, oracle.loss(HIDDEN, WEIGHTS, BIAS, ONE, class_weights))


def large_scores():
    """Scores of 1e4 on one device alone: the maximum is shared before the sum, and nothing overflows."""
    weights = WEIGHTS.copy()
    weights[2::DEVICES] *= 1e4

    def function(hidden, weights, bias, labels, candidates, g):
        def exact(*layer):
            return cross_entropy(*layer, labels, axis_name="classes")

        def sampled(*layer):
            return sampled_cross_entropy(*layer, labels, candidates, axis_name="classes")

        values = [jax.vjp(of, hidden, weights, bias) for of in (exact, sampled)]
        return [(loss, pull_back(g)) for loss, pull_back in values]

    scheme = Candidates(BY_CLASS, BY_CLASS, SPLIT)
    function = mapped(function, (*LAYER, SPLIT, scheme, SPLIT), [(SPLIT, LAYER)] * 2)
    results = function(HIDDEN, shard_classes(jnp.asarray(weights), DEVICES), layer()[2], ONE, candidates(ONE), G)
    for (loss, gradients), class_weights in zip(results, (None, of_union(ONE, False)), strict=True):
        expected = oracle.loss(HIDDEN, weights, BIAS, ONE, class_weights)
        np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)
        expected = oracle.gradients(G, HIDDEN, weights, BIAS, ONE, class_weights)
        np.testing.assert_allclose(gradients[0], expected[0], rtol=1e-4, atol=1e-3)


def evaluated():
    """Ranks, losses and the classes of highest score, of which one device may have them all."""

    def function(hidden, weights, bias, labels):
        values = evaluate(hidden, weights, bias, labels, block_size=2, axis_name="classes")
        return values, top_k(hidden, weights, bias, K, block_size=2, axis_name="classes")

    bias = BIAS.copy()
    bias[1::DEVICES] += 20  # these five are the first, and on one device
    arguments = HIDDEN, shard_classes(jnp.asarray(WEIGHTS), DEVICES), shard_classes(jnp.asarray(bias), DEVICES), ONE
    (loss, rank), (values, ids) = mapped(function, (*LAYER, SPLIT), SPLIT)(*arguments)
    s = oracle.scores(HIDDEN, WEIGHTS, bias)
    close(loss, oracle.loss(HIDDEN, WEIGHTS, bias, ONE))
    np.testing.assert_array_equal(rank, oracle.rank(s, ONE))
    np.testing.assert_array_equal(ids, np.argsort(-s, 1)[:, :K])
    close(values, -np.sort(-s, 1)[:, :K])


def out_of_range():
    """Labels that no device has give NaN, on all of them, and no row of a device is its."""

    def function(hidden, weights, bias, labels, candidates):
        loss, pull_back = sampled_rows(hidden, weights, bias, labels, candidates, axis_name="classes")
        of_labels, *_ = pull_back(jnp.ones_like(loss))[1]
        exact = cross_entropy(hidden, weights, bias, labels, axis_name="classes")
        return loss, exact, of_labels.ids[None, None]

    labels = ONE.copy()
    labels[[1, 4]] = -2, CLASSES
    scheme = Candidates(BY_CLASS, BY_CLASS, SPLIT)
    out_specs = (SPLIT, SPLIT, P("data", "classes"))
    *losses, ids = mapped(function, (*LAYER, SPLIT, scheme), out_specs)(*layer(), labels, candidates(ONE))
    for loss in losses:
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False, True, False])
    assert np.min(ids) >= 0 and np.sum(np.asarray(ids) < ROWS) == BATCH - 2


CHECKS = {
    "exact": lambda: exact(SEVERAL),
    "sampled": lambda: sampled(ONE, False),
    "sampled, several corrected labels": lambda: sampled(SEVERAL, True),
    "drawn on each device": drawn,
    "large scores": large_scores,
    "evaluate and top_k": evaluated,
    "labels out of range": out_of_range,
}


if __name__ == "__main__":
    run(CHECKS)
