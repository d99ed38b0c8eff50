"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.augment import augment, to_float
from experiments.config import Config
from experiments.data import Dataset, Split
from experiments.methods import Method
from experiments.models import ResNet18
from experiments.rehashing import rounds_by_epoch
from jaxapprox.diagnostics import Diagnostics

_EVALUATION_BATCH = 500
_ORDER, _AUGMENT, _SAMPLE, _RECALIBRATE, _EVALUATE = range(5)  # the named streams drawn from a seed's key, by fold_in


class State(NamedTuple):
    """What training carries from step to step. `batch_stats` and hash `tables` go with the parameters."""

    params: Any
    batch_stats: Any
    tables: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array


class Metrics(NamedTuple):
    """Of a step, or their means over an epoch: the loss, and each hashed layer's `Diagnostics` by its name."""

    loss: jax.Array
    diagnostics: dict[str, Diagnostics]


class Train(NamedTuple):
    """A run in pieces, and whole. All are pure; `Split`s are arguments, so that one copy serves all seeds.

    Attributes:
        init: key -> State.
        epoch: (State, train, rounds (rounds, 2)) -> (State, Metrics). Shuffled batches, in nested loops: each round
            rehashes and then runs from its first to before its last step of the epoch.
        rounds: (epochs, rounds, 2) int32, the rounds of each epoch.
        recalibrate: (State, train) -> batch_stats, re-estimated by exact forwards.
        accuracy: (State, batch_stats, split, exact) -> accuracy of the exact network, or through the hash.
        step: (State, images, labels) -> (State, Metrics).
        run: (key, train, test) -> (State, Metrics (epochs,), accuracies (epochs,)).
    """

    init: Callable
    rounds: np.ndarray
    epoch: Callable
    recalibrate: Callable
    accuracy: Callable
    step: Callable
    run: Callable


def make_model(config: Config, method: Method, data: Dataset) -> ResNet18:
    """The network that `method` trains."""
    return ResNet18(config.width, data.num_classes, method.conv, method.hidden, method.output)


def make_train(
    config: Config, method: Method, data: Dataset, on_step: Callable[[jax.Array], None] | None = None
) -> Train:
    """The training of one network by `method`, on data shaped like `data`.

    Args:
        config: resolved.
        method: from `experiments.methods`.
        data: for its shapes, sizes and augmentation; its arrays are not captured.
        on_step: called on the host after each step with the loss, in no order (for progress).
    """
    model = make_model(config, method, data)
    batch_size = min(config.batch_size, len(data.train.labels))
    steps_per_epoch = len(data.train.labels) // batch_size
    optimizer = _optimizer(config, steps_per_epoch * config.epochs)
    needs_recalibration = config.recalibrate and not method.exact_statistics
    rounds = rounds_by_epoch(config, steps_per_epoch, rehash=method.rehash is not None)
    crop_and_flip = functools.partial(augment, crop=data.crop, flip=data.flip)
    image_shape = data.train.images.shape[1:]

    def shuffled_batches(key: jax.Array) -> jax.Array:
        order = jax.random.permutation(key, len(data.train.labels))
        return order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)

    def init(key: jax.Array) -> State:
        init_key, stream_key = jax.random.split(key)
        variables = model.init(init_key, jnp.zeros((1, *image_shape)), train=True, exact=True)
        opt_state = optimizer.init(variables["params"])
        tables = variables.get("lsh", {})
        return State(variables["params"], variables["batch_stats"], tables, opt_state, stream_key, jnp.int32(0))

    def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        augment_key, sample_key = (_stream(state, name, state.step) for name in (_AUGMENT, _SAMPLE))
        images = to_float(crop_and_flip(augment_key, images))

        def loss_of(params):
            variables = {"params": params, "batch_stats": state.batch_stats, "lsh": state.tables}
            rngs = {} if method.exact else {"sample": sample_key}
            logits, updated = model.apply(
                variables, images, train=True, exact=method.exact, rngs=rngs, mutable=["batch_stats", "diagnostics"]
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated

        (loss, updated), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        if on_step is not None:
            jax.debug.callback(on_step, loss)
        params = optax.apply_updates(state.params, updates)
        diagnostics = {layer: sown["alsh"] for layer, sown in updated.get("diagnostics", {}).items()}
        state = State(params, updated["batch_stats"], state.tables, opt_state, state.key, state.step + 1)
        return state, Metrics(loss, diagnostics)

    def rehashed(state: State) -> State:
        if method.rehash is None:
            return state
        params, tables = method.rehash(state.params, state.tables)
        return state._replace(params=params, tables=tables)

    def epoch(state: State, train: Split, rounds: jax.Array) -> tuple[State, Metrics]:
        batches = shuffled_batches(_stream(state, _ORDER, state.step))

        def one(i, carry):
            state, total = carry
            state, metrics = step(state, train.images[batches[i]], train.labels[batches[i]])
            return state, jax.tree.map(jnp.add, total, metrics)

        def one_round(carry, bounds):
            state, total = carry
            return lax.fori_loop(bounds[0], bounds[1], one, (rehashed(state), total)), None

        shape = jax.eval_shape(step, state, train.images[:batch_size], train.labels[:batch_size])[1]
        nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shape)
        (state, total), _ = lax.scan(one_round, (state, nothing), rounds)
        return state, jax.tree.map(lambda a: a / steps_per_epoch, total)

    def recalibrate(state: State, train: Split) -> Any:
        """The mean of the statistics of some batches under the exact forward (in the place of a running mean)."""
        order_key, augment_key = jax.random.split(_stream(state, _RECALIBRATE, state.step))
        batches = shuffled_batches(order_key)

        def add(stats, numbered):
            i, batch = numbered
            images = to_float(crop_and_flip(jax.random.fold_in(augment_key, i), train.images[batch]))
            variables = {"params": state.params, "batch_stats": stats, "lsh": state.tables}
            _, updated = model.apply(
                variables, images, train=True, exact=True, momentum=i / (i + 1), mutable=["batch_stats"]
            )
            return updated["batch_stats"], None

        count = min(config.recalibration_batches, steps_per_epoch)
        return lax.scan(add, state.batch_stats, (jnp.arange(count), batches[:count]))[0]

    def accuracy(state: State, batch_stats: Any, split: Split, exact: bool = True) -> jax.Array:
        n = len(split.labels)
        size = min(_EVALUATION_BATCH, n)
        chunks = -(-n // size)
        index = jnp.arange(chunks * size).reshape(chunks, size)
        variables = {"params": state.params, "batch_stats": batch_stats, "lsh": state.tables}
        sample_key = _stream(state, _EVALUATE, state.step)

        def correct(batch):
            images = to_float(split.images[batch % n])
            rngs = {} if exact else {"sample": jax.random.fold_in(sample_key, batch[0])}
            logits = jnp.asarray(model.apply(variables, images, train=False, exact=exact, rngs=rngs))
            return jnp.sum((jnp.argmax(logits, -1) == split.labels[batch % n]) & (batch < n))

        return jnp.sum(lax.map(correct, index)) / n

    def run(key: jax.Array, train: Split, test: Split) -> tuple[State, Metrics, jax.Array]:
        def one(state, rounds):
            state, metrics = epoch(state, train, rounds)
            stats = recalibrate(state, train) if needs_recalibration else state.batch_stats
            return state, (metrics, accuracy(state, stats, test))

        state, (metrics, accuracies) = lax.scan(one, init(key), jnp.asarray(rounds))
        return state, metrics, accuracies

    return Train(init, rounds, epoch, recalibrate, accuracy, step, run)


def _stream(state: State, name: int, index: jax.Array) -> jax.Array:
    """Key number `index` of the stream `name`; the same for every method of a seed."""
    return jax.random.fold_in(jax.random.fold_in(state.key, name), index)


def _optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    schedules = {
        "onecycle": lambda: optax.cosine_onecycle_schedule(max(steps, 2), config.lr, pct_start=0.25),
        "cosine": lambda: optax.cosine_decay_schedule(config.lr, steps),
    }
    decayed = functools.partial(jax.tree.map, lambda p: p.ndim > 1)  # kernels, not biases and normalisation
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        optax.sgd(schedules[config.schedule](), momentum=config.momentum, nesterov=True),
    )
