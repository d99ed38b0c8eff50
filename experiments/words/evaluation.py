"""How well the network tells held-out words: by the exact scores of all words."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from experiments.training.learner import Evaluate, State, Stream, stream
from experiments.training.precision import cast
from experiments.words.network import hidden_values, output_params
from experiments.words.output_layers import OutputLayer
from experiments.words.places import Places
from jaxapprox.softmax import evaluate, recall, top_k

_AT_ONCE = 500
_LOOKED_UP, _TOP = 100, 10  # places by which the hash is judged, and words that it is to find


def evaluation(layer: OutputLayer, dtype: str) -> Evaluate:
    """The columns of `WordsRow`, by scores in this dtype; through the hash, of a layer that has one, for 100 places."""

    def columns(state: State, batch_stats: Any, test: Places) -> dict[str, jax.Array]:
        params, embedding = output_params(state.params), state.params["embedding"]
        weights, bias = params["weights"], params["bias"]
        n = test.labels.shape[0]
        size = min(_AT_ONCE, n)
        chunks = -(-n // size)

        def hidden_of(contexts):
            return cast(hidden_values(embedding, contexts)[0], dtype)

        def sums(chunk):
            places = jax.tree.map(lambda a: a[chunk % n], test)
            hidden = hidden_of(places.contexts)
            found = evaluate(hidden, weights, bias, places.labels)
            each = {"hit_at_1": found.rank < 1, "hit_at_10": found.rank < 10, "test_loss": found.loss}
            return {name: jnp.sum(jnp.where(chunk < n, values, 0)) for name, values in each.items()}

        by_chunk = lax.map(sums, jnp.arange(chunks * size).reshape(chunks, size))
        found = {name: jnp.sum(values) / n for name, values in by_chunk.items()}
        if layer.look_up is not None:
            hidden = hidden_of(jnp.asarray(test.contexts[:_LOOKED_UP]))
            ids = layer.look_up(stream(state, Stream.EVALUATE, state.step), state.tables, params, hidden)
            found["hash_recall"] = recall(ids, top_k(hidden, weights, bias, _TOP)[1])
        return {**found, "steps": state.step}

    return columns
