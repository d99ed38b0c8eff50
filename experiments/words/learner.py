"""The learner of a network that tells a word from its neighbours, trained row by row."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.process.checks import listed
from experiments.runs.timed_report import report
from experiments.training.evaluation_steps import evaluation_steps
from experiments.training.learner import Feed, Learner, Metrics, State, Stream, TakeBatch, stream
from experiments.training.precision import cast
from experiments.training.schedules import learning_rate
from experiments.training.task import Task, chosen_methods, notes_of
from experiments.words.config import WordsConfig
from experiments.words.data import WordsData, load_data
from experiments.words.evaluation import evaluation
from experiments.words.network import hidden_values, init_params, output_params, with_output
from experiments.words.output_layers import MakeOutputLayer
from experiments.words.places import Stretch, place_count, places_at
from jaxapprox.adam import adam
from jaxapprox.blocks import Block
from jaxapprox.lazy import apply_updates, lazy, rowwise_adagrad

_MOMENTUM = 0.9
_ACCUMULATOR, _EPS = 0.0, 1e-12  # of Adagrad, whose steps then are the same whatever scale gradients have
_UNTIL_KNOWN = 1 << 20  # steps, where seconds are asked for and not yet turned into steps


def make_task(config: WordsConfig) -> Task[WordsData]:
    """Words in context, on the text.

    Raises:
        UsageError: if the text can't be used.
    """
    data = load_data(config)
    places = place_count(data.train, config.window)
    notes = notes_of(
        config,
        f"{places} places to train on, {len(data.test.labels)} held out; window {config.window}, {config.features}"
        f" features{', tied' if config.tied else ''}, batch size {listed(config.batch_sizes)}, {config.optimizer},"
        f" learning rate {listed(config.lrs)}.",
    )
    title = f"Words in context, {len(data.vocabulary)} words of {data.name}"
    make_learner = functools.partial(words_learner, data=data)
    return Task(title, notes, data, chosen_methods(config), make_learner, report)


def make_optimizer(config: WordsConfig, steps: int) -> optax.GradientTransformation:
    """The optimizer of `--optimizer`, in its dense form, for a run of so many steps."""
    lr = learning_rate(config.schedule, config.lr, steps)
    return {
        "sgd": lambda: optax.sgd(lr),
        "momentum": lambda: optax.sgd(lr, momentum=_MOMENTUM),
        "adagrad": lambda: optax.adagrad(lr, _ACCUMULATOR, _EPS),
        "rowwise_adagrad": lambda: rowwise_adagrad(lr, _ACCUMULATOR, _EPS),
        "adam": lambda: adam(lr),
    }[config.optimizer]()


def words_learner(config: WordsConfig, make_layer: MakeOutputLayer, data: WordsData) -> Learner:
    """The training of the network, on data shaped like `data`.

    Args:
        config: the options, with one value of each.
        make_layer: makes the output layer.
        data: for its shapes and frequencies; its other arrays are not captured.

    Raises:
        UsageError: if an option does not fit the vocabulary.
    """
    layer, words = make_layer(data.frequencies), len(data.vocabulary)
    steps = evaluation_steps(config.steps or _UNTIL_KNOWN, config.evaluations)
    optimizer = lazy(make_optimizer(config, int(steps.sum())))

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        params_key, tables_key = jax.random.split(init_key)
        params = init_params(params_key, words, config.features, tied=config.tied)
        tables = {} if layer.tables is None else layer.tables(tables_key, output_params(params))
        return State(params, {}, tables, optimizer.init(params), stream_key, jnp.int32(0))

    def backward(state: State, contexts: jax.Array, labels: jax.Array) -> tuple[jax.Array, dict[str, Block], Any]:
        """The losses, their mean's gradients in blocks of the parameters, and new tables."""
        key = stream(state, Stream.SAMPLE, state.step)
        hidden, pull_hidden = hidden_values(state.params["embedding"], contexts)
        loss, pull_output, tables = layer.train(
            key, state.step, output_params(state.params), state.tables, cast(hidden, config.dtype), labels
        )
        dhidden, of_output = cast(pull_output(jnp.full_like(loss, 1 / loss.shape[0])), jnp.float32)
        gradients = with_output(pull_hidden(dhidden), of_output, words=words, tied=config.tied)
        return loss, gradients, tables

    def step(state: State, contexts: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        loss, gradients, tables = backward(state, contexts, labels)
        # The gradients wait until all of the parameters is read, which then need no copy.
        gradients, params, opt_state = lax.optimization_barrier((gradients, state.params, state.opt_state))
        updates, opt_state = optimizer.update(gradients, opt_state)
        params = apply_updates(params, updates)
        state = state._replace(params=params, tables=tables, opt_state=opt_state, step=state.step + 1)
        return state, Metrics(jnp.mean(loss), {})

    def gradient(state: State, contexts: jax.Array, labels: jax.Array) -> Any:
        _, gradients, _ = backward(state, contexts, labels)
        return apply_updates(jax.tree.map(jnp.zeros_like, state.params), gradients)

    def with_params(state: State, params: Any, batch_stats: Any) -> State:
        tables = state.tables if layer.refresh is None else layer.refresh(state.tables, output_params(params))
        return state._replace(params=params, tables=tables)

    def batches(state: State, train: Stretch, first: jax.Array) -> TakeBatch:
        count = place_count(train, config.window)

        def take(i: jax.Array) -> tuple[jax.Array, jax.Array]:
            key = stream(state, Stream.ORDER, first + i)
            positions = jax.random.randint(key, (config.batch_size,), 0, count)
            return tuple(places_at(train, positions, config.window))

        return take

    def rehash(params: Any, tables: Any) -> tuple[Any, Any]:
        assert layer.refresh is not None
        return params, layer.refresh(tables, output_params(params))

    return Learner(
        init,
        step,
        gradient,
        with_params,
        Feed(steps, batches),
        (evaluation(layer, config.dtype),),
        None if layer.refresh is None else rehash,
        countable=False,
    )
