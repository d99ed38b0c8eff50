"""The learner of a transformer that tells the next character, trained by AdamW."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.characters.adaptive_dense import LEVELS
from experiments.characters.config import CharactersConfig
from experiments.characters.control import first_levels, measured, work_of
from experiments.characters.data import CharactersData
from experiments.characters.evaluation import evaluation
from experiments.characters.methods import TransformerLayers
from experiments.characters.network import Transformer
from experiments.training.evaluation_steps import evaluation_steps
from experiments.training.learner import Feed, Learner, Metrics, State, Stream, TakeBatch, stream
from experiments.training.schedules import learning_rate

_MEASURE = 1 << 20  # apart from the layers' own draws
_UNTIL_KNOWN = 1 << 20  # steps, where seconds are asked for and not yet turned into steps


def characters_learner(
    config: CharactersConfig, layers: TransformerLayers, data: CharactersData, start: Any = None
) -> Learner:
    """The training of the network, on data shaped like `data`.

    Args:
        config: the options, with one value of each.
        layers: from a method of `experiments.characters.methods`.
        data: for its shapes and vocabulary; its arrays are not captured.
        start: parameters to begin with; None for new ones.
    """
    model = Transformer(
        config.blocks, config.features, config.heads, len(data.vocabulary), layers.dense, dtype=config.dtype
    )
    steps = evaluation_steps(config.steps or _UNTIL_KNOWN, config.evaluations)
    optimizer, control = _optimizer(config, int(steps.sum())), layers.control

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        variables = model.init(init_key, jnp.zeros((1, config.window), jnp.int32), exact=True)
        params = variables["params"] if start is None else jax.tree.map(jnp.asarray, start)
        tables = {} if control is None else first_levels(control, variables[LEVELS])
        return State(params, {}, tables, optimizer.init(params), stream_key, jnp.int32(0))

    def loss_of(params: Any, levels: Any, key: jax.Array | None, tokens: jax.Array, labels: jax.Array) -> jax.Array:
        """Exact without a key."""
        rngs = {} if key is None else {"sample": key}
        logits = model.apply({"params": params, LEVELS: levels}, tokens, exact=key is None, rngs=rngs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def backward(state: State, tokens: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        """The loss, and its gradient by the method."""
        key = None if layers.exact else stream(state, Stream.SAMPLE, state.step)
        levels = {} if control is None else state.tables.levels
        return jax.value_and_grad(loss_of)(state.params, levels, key, tokens, labels)

    def adapted(state: State, tokens: jax.Array, labels: jax.Array) -> Any:
        """The levels, measured anew where that is due."""
        if control is None:
            return state.tables
        gradient = jax.grad(loss_of)
        exact = functools.partial(gradient, state.params, state.tables.levels, None)
        key = jax.random.fold_in(stream(state, Stream.SAMPLE, state.step), _MEASURE)

        def gradient_at(levels, key):
            return gradient(state.params, levels, key, tokens, labels)

        def measure(tables):
            return measured(control, tables, gradient_at, exact, key, tokens, labels)

        return lax.cond(state.step % control.every == 0, measure, lambda tables: tables, state.tables)

    def step(state: State, tokens: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        state = state._replace(tables=adapted(state, tokens, labels))
        loss, gradient = backward(state, tokens, labels)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        work = {} if control is None else work_of(control, state.tables)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Metrics(loss, work)

    def gradient(state: State, tokens: jax.Array, labels: jax.Array) -> Any:
        return backward(state, tokens, labels)[1]

    def with_params(state: State, params: Any, batch_stats: Any) -> State:
        return state._replace(params=params)  # levels are no function of the parameters

    def logits(params: Any, tokens: jax.Array) -> jax.Array:
        return jnp.asarray(model.apply({"params": params}, tokens, exact=True))

    feed = Feed(steps, functools.partial(_batches, config))
    return Learner(init, step, gradient, with_params, feed, (evaluation(logits),), countable=control is None)


def _batches(config: CharactersConfig, state: State, train: jax.Array, first: jax.Array) -> TakeBatch:
    """Windows anywhere in the stretches, drawn with replacement: what is before each character, and the character."""
    stretches, length = train.shape
    offsets = jnp.arange(config.window + 1)

    def take(i: jax.Array) -> tuple[jax.Array, jax.Array]:
        which, where = jax.random.split(stream(state, Stream.ORDER, first + i))
        rows = jax.random.randint(which, (config.batch_size, 1), 0, stretches)
        starts = jax.random.randint(where, (config.batch_size, 1), 0, length - config.window)
        windows = train[rows, starts + offsets[None]]
        return windows[:, :-1], windows[:, 1:]

    return take


def _optimizer(config: CharactersConfig, steps: int) -> optax.GradientTransformation:
    decayed = functools.partial(jax.tree.map, lambda p: p.ndim > 1)  # kernels, not biases and normalisation
    rate = learning_rate(config.schedule, config.lr, steps)
    return optax.adamw(rate, b2=config.beta2, weight_decay=config.weight_decay, mask=decayed)
