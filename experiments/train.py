"""Training as pure functions of a key: `jit` and `vmap` take them whole."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.augment import augment, to_float
from experiments.config import Config
from experiments.data import Dataset, Split
from experiments.methods import Method
from experiments.models import ResNet18

_EVALUATION_BATCH = 500
_ORDER, _AUGMENT, _SAMPLE, _RECALIBRATE = range(4)  # the named streams drawn from a seed's key, by fold_in


class State(NamedTuple):
    """What training carries from step to step. A `batch_stats` tree goes with the parameters."""

    params: Any
    batch_stats: Any
    opt_state: Any
    key: jax.Array
    step: jax.Array


class Train(NamedTuple):
    """A run in pieces, and whole. All are pure; `Split`s are arguments, so that one copy serves all seeds.

    Attributes:
        init: key -> State.
        epoch: (State, train) -> (State, mean loss). One `scan` over shuffled batches.
        recalibrate: (State, train) -> batch_stats, re-estimated by exact forwards.
        accuracy: (params, batch_stats, split) -> accuracy of the exact network.
        step: (State, images, labels) -> (State, loss).
        run: (key, train, test) -> (State, losses (epochs,), accuracies (epochs,)).
    """

    init: Callable
    epoch: Callable
    recalibrate: Callable
    accuracy: Callable
    step: Callable
    run: Callable


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
    model = ResNet18(config.width, data.num_classes, method.conv)
    batch_size = min(config.batch_size, len(data.train.labels))
    steps_per_epoch = len(data.train.labels) // batch_size
    optimizer = _optimizer(config, steps_per_epoch * config.epochs)
    needs_recalibration = config.recalibrate and not method.exact_forward
    crop_and_flip = functools.partial(augment, crop=data.crop, flip=data.flip)
    image_shape = data.train.images.shape[1:]

    def shuffled_batches(key: jax.Array) -> jax.Array:
        order = jax.random.permutation(key, len(data.train.labels))
        return order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)

    def init(key: jax.Array) -> State:
        init_key, stream_key = jax.random.split(key)
        variables = model.init(init_key, jnp.zeros((1, *image_shape)), train=True, exact=True)
        opt_state = optimizer.init(variables["params"])
        return State(variables["params"], variables["batch_stats"], opt_state, stream_key, jnp.int32(0))

    def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, jax.Array]:
        augment_key, sample_key = (_stream(state, name, state.step) for name in (_AUGMENT, _SAMPLE))
        images = to_float(crop_and_flip(augment_key, images))

        def loss_of(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            rngs = {} if method.exact else {"sample": sample_key}
            logits, updated = model.apply(
                variables, images, train=True, exact=method.exact, rngs=rngs, mutable=["batch_stats"]
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated["batch_stats"]

        (loss, batch_stats), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        if on_step is not None:
            jax.debug.callback(on_step, loss)
        params = optax.apply_updates(state.params, updates)
        return State(params, batch_stats, opt_state, state.key, state.step + 1), loss

    def epoch(state: State, train: Split) -> tuple[State, jax.Array]:
        batches = shuffled_batches(_stream(state, _ORDER, state.step))
        state, losses = lax.scan(lambda s, batch: step(s, train.images[batch], train.labels[batch]), state, batches)
        return state, losses.mean()

    def recalibrate(state: State, train: Split) -> Any:
        """The mean of the statistics of some batches under the exact forward (in the place of a running mean)."""
        order_key, augment_key = jax.random.split(_stream(state, _RECALIBRATE, state.step))
        batches = shuffled_batches(order_key)

        def add(stats, numbered):
            i, batch = numbered
            images = to_float(crop_and_flip(jax.random.fold_in(augment_key, i), train.images[batch]))
            variables = {"params": state.params, "batch_stats": stats}
            _, updated = model.apply(
                variables, images, train=True, exact=True, momentum=i / (i + 1), mutable=["batch_stats"]
            )
            return updated["batch_stats"], None

        count = min(config.recalibration_batches, steps_per_epoch)
        return lax.scan(add, state.batch_stats, (jnp.arange(count), batches[:count]))[0]

    def accuracy(params: Any, batch_stats: Any, split: Split) -> jax.Array:
        n = len(split.labels)
        size = min(_EVALUATION_BATCH, n)
        chunks = -(-n // size)
        index = jnp.arange(chunks * size).reshape(chunks, size)

        def correct(batch):
            images = to_float(split.images[batch % n])
            variables = {"params": params, "batch_stats": batch_stats}
            logits = jnp.asarray(model.apply(variables, images, train=False, exact=True))
            return jnp.sum((jnp.argmax(logits, -1) == split.labels[batch % n]) & (batch < n))

        return jnp.sum(lax.map(correct, index)) / n

    def run(key: jax.Array, train: Split, test: Split) -> tuple[State, jax.Array, jax.Array]:
        def one(state, _):
            state, loss = epoch(state, train)
            stats = recalibrate(state, train) if needs_recalibration else state.batch_stats
            return state, (loss, accuracy(state.params, stats, test))

        state, (losses, accuracies) = lax.scan(one, init(key), length=config.epochs)
        return state, losses, accuracies

    return Train(init, epoch, recalibrate, accuracy, step, run)


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
