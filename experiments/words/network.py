"""The network: the mean of a word's neighbours' embeddings, and an output layer with a class for every word."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxapprox.active_rows import embed
from jaxapprox.blocks import EVERYTHING, Block, add, add_up

_EMBEDDING_SCALE = 0.1


def init_params(key: jax.Array, words: int, features: int, *, tied: bool) -> dict[str, jax.Array]:
    """Normal "embedding" `(words, features)`; "weights", unless tied to it, and "bias" `(words,)` of the classes, 0."""
    embedding = _EMBEDDING_SCALE * jax.random.normal(key, (words, features))
    weights = {} if tied else {"weights": jnp.zeros((words, features))}
    return {"embedding": embedding, **weights, "bias": jnp.zeros(words)}


def output_params(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The output layer's "weights" and "bias"."""
    return {"weights": params.get("weights", params["embedding"]), "bias": params["bias"]}


def hidden_values(embedding: jax.Array, contexts: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], Block]]:
    """The mean of the neighbours' embeddings `(batch, features)`, and its pull-back to a block of the embeddings.

    Args:
        embedding: `(words, features)`.
        contexts: `(batch, neighbours)` int32, -1 where there is none; at least one is there.
    """
    near, pull = embed(embedding, contexts)
    count = jnp.sum(contexts >= 0, 1, keepdims=True)

    def pull_back(g: jax.Array) -> Block:
        return pull(jnp.broadcast_to((g / count)[:, None, :], near.shape))

    return jnp.sum(near, 1) / count, pull_back


def with_output(embedding: Block, output: dict[str, Block], *, words: int, tied: bool) -> dict[str, Block]:
    """The gradients of all parameters, from those in the embeddings and in the output layer's parameters."""
    if not tied:
        return {"embedding": embedding, **output}
    weights = output["weights"]
    if weights.where == EVERYTHING:
        both = Block(EVERYTHING, add(weights.values, embedding))
    else:
        rows, values = (jnp.concatenate(pair) for pair in zip(_rows(weights), _rows(embedding), strict=True))
        both = add_up(rows, values, words)
    return {"embedding": both, "bias": output["bias"]}


def _rows(block: Block) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(block.where.rows), block.values
