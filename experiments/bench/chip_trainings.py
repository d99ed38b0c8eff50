"""Trainings whose steps the parts tpu and device compare: ResNet-18, the MLP and words, exact and sampled."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from experiments.bench.chip_variants import CHIP_VARIANTS
from experiments.bench.options import Bench
from experiments.bench.random_data import random_cifar, random_digits, random_text
from experiments.cifar import config as cifar
from experiments.cifar.learner import cnn_learner
from experiments.mlp import config as mlp
from experiments.mlp.learner import mlp_learner
from experiments.training.loop import Data, Train, make_train
from experiments.words import config as words
from experiments.words.learner import words_learner

_CLASSES = 100_000  # of words
_MLP_METHODS, _MLP_BATCHES = ("standard", "mc", "alsh"), (1, 128)


class Training(NamedTuple):
    """What a step is of.

    Attributes:
        network: with its sizes.
        variant: how it is trained.
        train: that.
        data: of the shapes of what it is trained on.
    """

    network: str
    variant: str
    train: Train
    data: Data


def trainings(options: Bench) -> Iterator[Training]:
    """Those of the networks that `--chip-networks` names."""
    return itertools.chain.from_iterable(NETWORKS[name](options) for name in options.chip_networks)


def _resnet18(options: Bench) -> Iterator[Training]:
    for width, batch in itertools.product(options.chip_widths, options.chip_batches):
        images = random_cifar(batch)
        for variant in options.chip_variants:
            method, own = CHIP_VARIANTS[variant]
            config = cifar.Config(width=width, batch_size=batch, epochs=1, dtype=options.chip_dtype, **own)
            learner = cnn_learner(config, cifar.METHODS[method].layers(config), images)
            train = make_train(config, learner, images)
            yield Training(f"ResNet-18, width {width}, batch {batch}, {options.chip_dtype}", variant, train, images)


def _mlp(options: Bench) -> Iterator[Training]:
    digits = random_digits(_MLP_BATCHES[-1])
    for batch, method in itertools.product(_MLP_BATCHES, _MLP_METHODS):
        config = mlp.MLPConfig(batch_size=batch, epochs=1)
        train = make_train(config, mlp_learner(config, mlp.METHODS[method].layers(config), digits), digits)
        yield Training(f"MLP, {config.layers[0]} x {config.width}, batch {batch}", method, train, digits)


def _words(options: Bench) -> Iterator[Training]:
    text = random_text(_CLASSES)
    for method in words.METHODS:
        config = words.WordsConfig(methods=(method,), steps=1, evaluations=1)
        train = make_train(config, words_learner(config, words.METHODS[method].layers(config), text), text)
        yield Training(f"words, {_CLASSES:,} classes, batch {config.batch_size}", method, train, text)


NETWORKS = {"resnet18": _resnet18, "mlp": _mlp, "words": _words}
"""Functions that go through the trainings of a network, by the options."""
