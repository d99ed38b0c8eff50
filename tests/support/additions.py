"""A sampler, a data set and a training method of somebody else's, each one function and one line in its registry."""

import jax.numpy as jnp
import numpy as np

from experiments.data import DATASETS
from experiments.data.dataset import Dataset, Split
from experiments.mlp import hidden_layers
from experiments.mlp.config import METHODS
from experiments.training.method import training_method
from jaxapprox import SAMPLERS, Sample


def first(key, scores, num_samples):
    """Keeps the first rows."""
    return Sample(jnp.arange(num_samples), jnp.ones(num_samples))


def stripes(data_dir):
    """Four classes of 6 x 9 images by the row that is bright."""
    labels = np.arange(48) % 4
    images = np.zeros((48, 6, 9, 1), np.uint8)
    images[np.arange(48), labels] = 255
    split = Split(jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    return Dataset("Stripes", split, split, 4, crop=0, flip=False)


@training_method(sweeps=("ratios",), note=lambda config: "halves: the paper says nothing of it.")
def halves(config):
    """Samples the inputs by the share of `--ratio`, whatever `--sampler` is."""
    return hidden_layers.sampled(ratio=config.ratio, sampler=SAMPLERS["first"])


SAMPLERS.register("first", first)
DATASETS.register("stripes", stripes)
METHODS.register("halves", halves)
