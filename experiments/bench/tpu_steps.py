"""Training steps of the programs compiled for a described TPU: ResNet-18, the MLP and words, exact and sampled."""

from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding
from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.random_data import random_cifar, random_digits, random_text
from experiments.bench.tpu_counts import Counted, cells, counted, table
from experiments.cifar import config as cifar
from experiments.cifar.learner import cnn_learner
from experiments.compiler.topology import Topology, shapes_on
from experiments.mlp import config as mlp
from experiments.mlp.learner import mlp_learner
from experiments.training.loop import Data, Train, make_train
from experiments.words import config as words
from experiments.words.learner import words_learner

CIFAR_VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("exact", "exact", {}),
    ("mc 0.5 topk", "mc", {"ratios": (0.5,), "samplers": ("topk",)}),
)
"""Of the ResNet-18: a name, the method, and options of `experiments.cifar`."""

_CLASSES = 100_000  # of words


def measure_steps(options: Bench, topology: Topology) -> dict[str, dict[str, Counted]]:
    """The counts of each variant's step, by network."""
    found: dict[str, dict[str, Counted]] = {}
    for network, variant, train, data in _trainings(options):
        found.setdefault(network, {})[variant] = counted(_lowered(train, data, topology), topology)
    return found


def show_steps(results: dict[str, dict[str, Counted]], console: Console) -> None:
    """Prints a table of counts."""
    rows = table("Training steps as the programs train", "network", "variant")
    for network, by_variant in results.items():
        for variant, found in by_variant.items():
            rows.add_row(network, variant, *cells(found, next(iter(by_variant.values()))))
        rows.add_section()
    console.print(rows)


def _trainings(options: Bench) -> Iterator[tuple[str, str, Train, Data]]:
    """A network, how it is trained, its training, and what it is trained on."""
    for width in options.chip_widths:
        for batch in options.chip_batches:
            images = random_cifar(batch)
            for variant, method, own in CIFAR_VARIANTS:
                config = cifar.Config(width=width, batch_size=batch, epochs=1, **own)
                learner = cnn_learner(config, cifar.METHODS[method].layers(config), images)
                yield f"ResNet-18, width {width}, batch {batch}", variant, make_train(config, learner, images), images
    digits = random_digits(128)
    for batch in (1, 128):
        for method in ("standard", "mc", "alsh"):
            of_mlp = mlp.MLPConfig(layers=(3,), batch_size=batch, epochs=1)
            train = make_train(of_mlp, mlp_learner(of_mlp, mlp.METHODS[method].layers(of_mlp), digits), digits)
            yield f"MLP, 3 x {of_mlp.width}, batch {batch}", method, train, digits
    text = random_text(_CLASSES)
    for method in words.METHODS:
        of_words = words.WordsConfig(methods=(method,), steps=1, evaluations=1)
        train = make_train(of_words, words_learner(of_words, words.METHODS[method].layers(of_words), text), text)
        yield f"words, {_CLASSES:,} classes, batch {of_words.batch_size}", method, train, text


def _lowered(train: Train, data: Data, topology: Topology) -> jax.stages.Lowered:
    state = jax.eval_shape(train.init, jax.random.key(0))
    batch = jax.eval_shape(train.first_batch, state, data.train)
    arguments = shapes_on((state, *batch), SingleDeviceSharding(topology.devices[0]))
    return jax.jit(train.learner.step, donate_argnums=0).lower(*arguments)
