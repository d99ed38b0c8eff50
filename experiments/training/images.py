"""Training on images: which data, in which batches, and how accurate a network is."""

from typing import Any, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.data import load
from experiments.data.dataset import Dataset, Split, first_images, grey, hold_out
from experiments.process.errors import UsageError
from experiments.training.image_options import ImageOptions
from experiments.training.learner import Evaluate, Feed, State, Stream, TakeBatch, stream

_EVALUATION_BATCH = 500


class Logits(Protocol):
    """The outputs `(batch, classes)` for uint8 images; `key` is for a network whose evaluation draws."""

    def __call__(self, state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array: ...


def load_data(config: ImageOptions, *, colour: bool = True) -> Dataset:
    """Loads the data that the options ask for, colour images as grey ones unless `colour`.

    Raises:
        UsageError: as for `experiments.data.load`.
    """
    data = load(config.data, config.data_dir)
    if not colour:
        data = grey(data)
    if config.validation:
        data = hold_out(data)
    return first_images(data, config.images) if config.images else data


def steps_per_epoch(config: ImageOptions, data: Dataset) -> int:
    """Whole batches of the training set; what is left over is another part of it in every epoch.

    Raises:
        UsageError: if there is none.
    """
    images = len(data.train.labels)
    if config.batch_size > images:
        raise UsageError(f"--batch-size must be at most the number of training images, {images}: {config.batch_size}")
    return images // config.batch_size


def shuffled_batches(key: jax.Array, config: ImageOptions, data: Dataset) -> jax.Array:
    """`(steps, batch)` indices of an epoch's training images."""
    order = jax.random.permutation(key, len(data.train.labels))
    steps, size = steps_per_epoch(config, data), config.batch_size
    return order[: steps * size].reshape(steps, size)


def image_feed(config: ImageOptions, data: Dataset, *, numbered: bool = False) -> Feed:
    """Shuffled batches of images `(batch, height, width, channels)` uint8 and labels `(batch,)` int32, epoch by epoch.

    Args:
        config: the options.
        data: for its sizes.
        numbered: whether examples are `(images, numbers)`, with the images' int32 places in the training set.

    Raises:
        UsageError: if the training set is smaller than a batch, or `--steps` do not end in the last epoch.
    """
    chex.assert_rank((data.train.images, data.train.labels), (4, 1))
    chex.assert_type((data.train.images, data.train.labels), (jnp.uint8, jnp.int32))
    whole = steps_per_epoch(config, data)
    steps = np.full(config.epochs, whole)
    if config.steps is not None:
        first, last = whole * (config.epochs - 1) + 1, whole * config.epochs
        if not first <= config.steps <= last:
            raise UsageError(f"--steps must end in the last of --epochs, from {first} to {last}, got {config.steps}")
        steps[-1] = config.steps - first + 1

    def batches(state: State, train: Split, first: jax.Array) -> TakeBatch:
        shuffled = shuffled_batches(stream(state, Stream.ORDER, first), config, data)

        def take(i: jax.Array) -> tuple[Any, jax.Array]:
            images, labels = train.images[shuffled[i]], train.labels[shuffled[i]]
            return ((images, shuffled[i]) if numbered else images), labels

        return take

    return Feed(steps, batches)


def accuracy(column: str, logits_of: Logits) -> Evaluate:
    """The share of the test images that a network gets right, for this column of metrics.jsonl.

    500 images are evaluated at once, of which the last ones of a split may be less.
    """

    def evaluate(state: State, batch_stats: Any, test: Split) -> dict[str, jax.Array]:
        n = len(test.labels)
        size = min(_EVALUATION_BATCH, n)
        chunks = -(-n // size)
        index = jnp.arange(chunks * size).reshape(chunks, size)
        key = stream(state, Stream.EVALUATE, state.step)

        def correct(chunk):
            own_key = jax.random.fold_in(key, chunk[0])
            logits = logits_of(state, batch_stats, test.images[chunk % n], own_key)
            chex.assert_shape(logits, (size, None))
            return jnp.sum((jnp.argmax(logits, -1) == test.labels[chunk % n]) & (chunk < n))

        return {column: jnp.sum(lax.map(correct, index)) / n}

    return evaluate
