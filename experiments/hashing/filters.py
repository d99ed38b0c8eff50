"""The convolutions that are hashed: those of the paper's CNN, as initialised and trained, with their inputs."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
from flax import linen as nn

from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner, make_model
from experiments.data.dataset import Dataset
from experiments.training.compilation import jit
from experiments.training.loop import make_train
from jaxapprox.linen import MCConv


@functools.partial(jax.tree_util.register_dataclass, data_fields=("inputs", "kernel"), meta_fields=("name", "strides"))
@dataclasses.dataclass(frozen=True)
class ConvLayer:
    """A convolution within a network: its inputs `(batch, height, width, in)` and kernel `(v, v, in, out)`."""

    name: str
    inputs: jax.Array
    kernel: jax.Array
    strides: int


def conv_layers(model: nn.Module, variables: Any, images: jax.Array) -> list[ConvLayer]:
    """All convolutions of a network, with the inputs that `images` give them, in order."""
    layers = []

    def note(call, args, kwargs, context):
        if isinstance(context.module, MCConv) and context.method_name == "__call__":
            path = context.module.path
            kernel = functools.reduce(lambda params, name: params[name], path, variables["params"])["kernel"]
            layers.append(ConvLayer("/".join(path), args[0], kernel, context.module.strides))  # type: ignore[arg-type]
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        model.apply(variables, images, train=False, exact=True)
    return layers


def networks(config: Config, data: Dataset, images: jax.Array) -> Iterator[tuple[str, list[ConvLayer]]]:
    """The network's convolutions "untrained", and then "trained" exactly, with the inputs that `images` give them."""
    exact = METHODS["exact"].layers(config)
    model = make_model(config, exact, data)
    train = make_train(config, cnn_learner(config, exact, data), data)
    state = jit(train.init)(jax.random.key(config.seed))

    def layers():
        return conv_layers(model, {"params": state.params, "batch_stats": state.batch_stats}, images)

    yield "untrained", layers()
    epoch = jit(train.epoch)
    for rounds in train.rounds:
        state, _ = epoch(state, data.train, rounds)
    yield "trained", layers()
