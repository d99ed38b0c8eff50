"""What is refused, in one line that names the argument, what it was and what it must be."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxapprox.softmax import (
    Candidates,
    by_frequency,
    cross_entropy,
    draw,
    evaluate,
    in_batch,
    log_uniform,
    mixture,
    sampled_cross_entropy,
    sampled_rows,
    top_k,
    uniform,
)

HIDDEN, WEIGHTS, BIAS, LABELS = jnp.ones((3, 4)), jnp.ones((7, 4)), jnp.ones(7), jnp.array([0, 6, 2])
CANDIDATES = Candidates(jnp.array([1, 2]), jnp.ones(2), jnp.ones(3))
NAN = float("nan")


def refused(function, *arguments, **settings):
    with pytest.raises(ValueError, match="must") as error:
        function(*arguments, **settings)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("size", lambda: uniform(5, 6)),
        ("size", lambda: uniform(5, 0)),
        ("size", lambda: uniform(5, 2.0)),
        ("size", lambda: log_uniform(5, 6)),
        ("size", lambda: by_frequency([1, 0, 2], 3)),  # a class of frequency 0 is none to draw
        ("classes", lambda: uniform(0, 1)),
        ("classes", lambda: log_uniform(2.5, 1)),
        ("frequencies", lambda: by_frequency([1, -1, 2], 1)),
        ("frequencies", lambda: by_frequency([1, NAN, 2], 1)),
        ("frequencies", lambda: by_frequency([1, np.inf, 2], 1)),
        ("frequencies", lambda: by_frequency([0, 0], 1)),
        ("frequencies", lambda: by_frequency([], 1)),
        ("frequencies", lambda: by_frequency([[1.0, 2.0]], 1)),
        ("frequencies", lambda: in_batch([1, -1, 2], 4)),
        ("frequencies", lambda: in_batch([0, 0], 4)),
        ("frequencies", lambda: jax.jit(by_frequency, static_argnums=1)(jnp.ones(3), 2)),
        ("power", lambda: by_frequency([1, 2], 1, power=NAN)),
        ("power", lambda: by_frequency([1, 2], 1, power=-1)),
        ("labels", lambda: in_batch([1, 2], 0)),
        ("proposals", lambda: mixture()),
        ("key", lambda: draw(0, uniform(7, 2), LABELS)),
    ],
)
def test_proposals(name, make):
    assert refused(make).startswith(name)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("hidden", {"hidden": jnp.ones((3, 5))}),
        ("hidden", {"hidden": jnp.ones(4)}),
        ("hidden", {"hidden": jnp.ones((3, 4), jnp.int32)}),
        ("weights", {"weights": jnp.ones(7)}),
        ("weights", {"weights": jnp.ones((0, 4))}),
        ("weights", {"weights": jnp.ones((7, 4), jnp.int32)}),
        ("bias", {"bias": jnp.ones(6)}),
        ("labels", {"labels": jnp.array([0, 1])}),
        ("labels", {"labels": jnp.zeros((3, 1, 1), jnp.int32)}),
        ("labels", {"labels": jnp.ones(3)}),
        ("labels", {"labels": jnp.array([0, 7, 1])}),
        ("labels", {"labels": np.array([[0, 1], [-2, 1], [3, 3]])}),
        ("labels", {"labels": [0, 7, 1]}),
    ],
)
def test_layers_and_labels(name, changed):
    """By each of the losses."""
    arguments = {"hidden": HIDDEN, "weights": WEIGHTS, "bias": BIAS, "labels": LABELS} | changed
    for function in (cross_entropy, evaluate):
        assert refused(function, **arguments).startswith(name)
    for function in (sampled_cross_entropy, sampled_rows):
        assert refused(function, **arguments, candidates=CANDIDATES).startswith(name)
    if name != "labels":
        del arguments["labels"]
        assert refused(top_k, **arguments, k=2).startswith(name)


def test_a_label_is_named_by_its_value():
    message = refused(cross_entropy, HIDDEN, WEIGHTS, BIAS, jnp.array([0, 7, 1]))
    assert re.search(r"\b6\b", message) and re.search(r"\b7\b", message)  # the last class, and what was given


@pytest.mark.parametrize(
    "changed",
    [
        {"ids": jnp.ones((2, 5), jnp.int32), "expected": jnp.ones((2, 5))},
        {"ids": jnp.int32(1), "expected": jnp.float32(1)},
        {"expected": jnp.ones(3)},
        {"expected_labels": None},
        {"expected_labels": jnp.ones(2)},
        {"ids": jnp.ones(2)},
    ],
)
def test_candidates(changed):
    candidates = CANDIDATES._replace(**changed)
    for function in (sampled_cross_entropy, sampled_rows):
        message = refused(function, HIDDEN, WEIGHTS, BIAS, LABELS, candidates, correct_labels=True)
        assert message.startswith("candidates")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("block_size", lambda: cross_entropy(HIDDEN, WEIGHTS, BIAS, LABELS, block_size=0)),
        ("block_size", lambda: evaluate(HIDDEN, WEIGHTS, BIAS, LABELS, block_size=2.0)),
        ("k", lambda: top_k(HIDDEN, WEIGHTS, BIAS, 8)),
        ("k", lambda: top_k(HIDDEN, WEIGHTS, BIAS, 0)),
    ],
)
def test_sizes(name, call):
    assert refused(call).startswith(name)
