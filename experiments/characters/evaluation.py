"""How well the exact network tells the characters of held-out windows."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.training.learner import Evaluate, State

_AT_ONCE = 50


def evaluation(logits_of: Callable[[Any, jax.Array], jax.Array]) -> Evaluate:
    """The columns of `CharactersRow`: means over all characters of the windows but the first of each.

    Args:
        logits_of: the network's, of the next characters, for its parameters and tokens `(windows, window)`.
    """

    def columns(state: State, batch_stats: Any, test: jax.Array) -> dict[str, jax.Array]:
        n = test.shape[0]
        size = min(_AT_ONCE, n)
        index = jnp.arange(-(-n // size) * size).reshape(-1, size)

        def sums(chunk):
            windows, own = test[chunk % n], (chunk < n)[:, None]
            logits, labels = logits_of(state.params, windows[:, :-1]), windows[:, 1:]
            nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            right = jnp.argmax(logits, -1) == labels
            return jnp.sum(jnp.where(own, right, 0)), jnp.sum(jnp.where(own, nats, 0))

        right, nats = (jnp.sum(each) / (n * (test.shape[1] - 1)) for each in lax.map(sums, index))
        return {"test_accuracy": right, "test_bits": nats / math.log(2), "steps": state.step}

    return columns
