"""The learner of the paper's CNN: loss by autodiff, BatchNorm, augmentation, SGD."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.cifar.config import Config
from experiments.cifar.methods import CNNLayers
from experiments.cifar.network import ResNet
from experiments.data.augment import augment, to_float
from experiments.data.dataset import Dataset, Split
from experiments.training.images import accuracy, image_feed, load_data, shuffled_batches
from experiments.training.learner import Learner, Metrics, State, Stream, stream
from experiments.training.task import Task, chosen_methods, notes_of


def make_task(config: Config) -> Task[Dataset]:
    """ResNet-18, or what `--blocks` makes of it, on the data.

    Raises:
        UsageError: if the data can't be had.
    """
    data = load_data(config)
    notes = notes_of(config, f"{len(data.train.labels)} training images.")
    make_learner = functools.partial(cnn_learner, data=data)
    return Task(f"{config.network}, on {data.name}", notes, data, chosen_methods(config), make_learner)


def make_model(config: Config, layers: CNNLayers, data: Dataset) -> ResNet:
    """The network, made of `layers`."""
    return ResNet(config.width, config.blocks, data.num_classes, layers.conv, layers.hidden, layers.output)


def cnn_learner(config: Config, layers: CNNLayers, data: Dataset) -> Learner:
    """The training of one network made of `layers`, on data shaped like `data`.

    Args:
        config: the options, with one value of each.
        layers: from a method of `experiments.cifar.methods`.
        data: for its shapes, sizes and augmentation; its arrays are not captured.
    """
    model = make_model(config, layers, data)
    feed = image_feed(config, data)
    optimizer = _optimizer(config, int(feed.steps.sum()))
    crop_and_flip = functools.partial(augment, crop=data.crop, flip=data.flip)
    image_shape = data.train.images.shape[1:]

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        variables = model.init(init_key, jnp.zeros((1, *image_shape)), train=True, exact=True)
        opt_state = optimizer.init(variables["params"])
        tables = variables.get("lsh", {})
        return State(variables["params"], variables["batch_stats"], tables, opt_state, stream_key, jnp.int32(0))

    def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        augment_key, sample_key = (stream(state, name, state.step) for name in (Stream.AUGMENT, Stream.SAMPLE))
        images = to_float(crop_and_flip(augment_key, images))

        def loss_of(params):
            variables = {"params": params, "batch_stats": state.batch_stats, "lsh": state.tables}
            rngs = {} if layers.exact else {"sample": sample_key}
            logits, updated = model.apply(
                variables, images, train=True, exact=layers.exact, rngs=rngs, mutable=["batch_stats", "diagnostics"]
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated

        (loss, updated), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        diagnostics = {name: sown["alsh"] for name, sown in updated.get("diagnostics", {}).items()}
        state = State(params, updated["batch_stats"], state.tables, opt_state, state.key, state.step + 1)
        return state, Metrics(loss, diagnostics)

    def recalibrate(state: State, train: Split) -> Any:
        """The mean of the statistics of some batches under the exact forward (in the place of a running mean)."""
        order_key, augment_key = jax.random.split(stream(state, Stream.RECALIBRATE, state.step))
        batches = shuffled_batches(order_key, config, data)

        def add(stats, numbered):
            i, batch = numbered
            images = to_float(crop_and_flip(jax.random.fold_in(augment_key, i), train.images[batch]))
            variables = {"params": state.params, "batch_stats": stats, "lsh": state.tables}
            _, updated = model.apply(
                variables, images, train=True, exact=True, momentum=i / (i + 1), mutable=["batch_stats"]
            )
            return updated["batch_stats"], None

        count = min(config.recalibration_batches, len(batches))
        return lax.scan(add, state.batch_stats, (jnp.arange(count), batches[:count]))[0]

    def logits(exact: bool, state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array:
        variables = {"params": state.params, "batch_stats": batch_stats, "lsh": state.tables}
        rngs = {} if exact else {"sample": key}
        return jnp.asarray(model.apply(variables, to_float(images), train=False, exact=exact, rngs=rngs))

    evaluations = [accuracy("test_accuracy", functools.partial(logits, True))]
    if layers.hashes:
        evaluations.append(accuracy("test_accuracy_hashed", functools.partial(logits, False)))
    recalibrates = config.recalibrate and not layers.exact_statistics
    return Learner(init, step, feed, tuple(evaluations), layers.rehash, recalibrate if recalibrates else None)


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
