"""The training methods of `experiments.mlp`, by the name that `--methods` gives them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.data.dataset import Dataset
from experiments.mlp import learner as active_mlp
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import Method
from experiments.mlp.network import MLP, to_features
from experiments.training.loop import Learner
from jaxapprox import SAMPLERS
from jaxapprox.adam import adam
from jaxapprox.adaptive_dropout import RULES, keep_probability
from jaxapprox.linen import AdaptiveDropout

_MOMENTUM, _EPS = 0.9, 1e-4


def make_learner(name: str, config: MLPConfig, layers: int, data: Dataset) -> Learner:
    """The training of a network of `layers` hidden layers by the method `name`, on data shaped like `data`."""
    model = MLP(layers, config.width, data.num_classes)
    return active_mlp.learner(model, METHODS[name](config), make_optimizer(config), to_features(data.train.images[:1]))


def make_optimizer(config: MLPConfig) -> optax.GradientTransformation:
    """That of `--optimizer`, in its dense form."""
    return {
        "sgd": lambda: optax.sgd(config.lr),
        "momentum": lambda: optax.sgd(config.lr, momentum=_MOMENTUM),
        "adam": lambda: adam(config.lr, eps=_EPS),
    }[config.optimizer]()


def _standard(config: MLPConfig) -> Method:
    return active_mlp.dense(lambda key, z: nn.relu(z))


def _dropout(config: MLPConfig) -> Method:
    dropout = nn.Dropout(config.dropout_rate, deterministic=False)

    def activation(key: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.asarray(dropout.apply({}, nn.relu(z), rngs={"dropout": key}))

    return active_mlp.dense(activation)


def _dropout_gathered(config: MLPConfig) -> Method:
    return active_mlp.dropped(rate=config.dropout_rate)


def _adaptive_dropout(config: MLPConfig) -> Method:
    dropout = AdaptiveDropout(config.keep_alpha, config.keep_beta, config.keep_rule)

    def training(key: jax.Array, z: jax.Array) -> jax.Array:
        return jnp.asarray(dropout.apply({}, z, deterministic=False, rngs={"sample": key}))

    return active_mlp.dense(training, evaluation=lambda z: jnp.asarray(dropout.apply({}, z, deterministic=True)))


def _adaptive_dropout_gathered(config: MLPConfig) -> Method:
    keep = functools.partial(keep_probability, alpha=config.keep_alpha, beta=config.keep_beta, rule=config.keep_rule)
    rescales = RULES[config.keep_rule].rescales
    return active_mlp.adaptively_dropped(keep=keep, rescales=rescales, capacity=config.keep_capacity)


def _alsh(config: MLPConfig) -> Method:
    return active_mlp.hashed(
        size=max(1, round(config.active * config.width)),
        select=config.select,
        rehashes=config.rehash_every > 0,
        num_tables=config.num_tables,
        num_bits=config.num_bits,
        transform=config.transform,
    )


def _mc(config: MLPConfig) -> Method:
    return active_mlp.sampled(ratio=config.ratio, sampler=SAMPLERS[config.sampler])


def _mc_backward(config: MLPConfig) -> Method:
    return active_mlp.sampled_backward(ratio=config.ratio, sampler=SAMPLERS[config.sampler])


METHODS: dict[str, Callable[[MLPConfig], Method]] = {
    "standard": _standard,
    "dropout": _dropout,
    "dropout_gathered": _dropout_gathered,
    "adaptive_dropout": _adaptive_dropout,
    "adaptive_dropout_gathered": _adaptive_dropout_gathered,
    "alsh": _alsh,
    "mc": _mc,
    "mc_backward": _mc_backward,
}
