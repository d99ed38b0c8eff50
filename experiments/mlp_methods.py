"""The training methods of `experiments.mlp`, by the name that `--methods` gives them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments import active_mlp
from experiments.data import Dataset
from experiments.mlp_config import MLPConfig
from experiments.mlp_models import MLP, Dense, Dropout, ReLU, to_features
from experiments.train import Learner, Metrics, State, Stream, stream
from jaxapprox import SAMPLERS
from jaxapprox.linen import AdaptiveDropout, MCDense
from jaxapprox.standout import RULES, keep_probability

_MOMENTUM, _EPS = 0.9, 1e-4


def make_learner(name: str, config: MLPConfig, layers: int, data: Dataset) -> Learner:
    """The training of a network of `layers` hidden layers by the method `name`."""
    return METHODS[name](config, layers, data)


def make_optimizer(config: MLPConfig) -> optax.GradientTransformation:
    """That of `--optimizer`, in its dense form."""
    return {
        "sgd": lambda: optax.sgd(config.lr),
        "momentum": lambda: optax.sgd(config.lr, momentum=_MOMENTUM),
        "adam": lambda: optax.adam(config.lr, eps=_EPS),
    }[config.optimizer]()


def _by_autodiff(
    dense: Callable[[MLPConfig], Callable[..., nn.Module]], activation: Callable[[MLPConfig], Callable[..., Any]]
) -> Callable[[MLPConfig, int, Dataset], Learner]:
    """A method whose gradient is autodiff's, with hidden layers and activations that the configuration makes."""

    def learner(config: MLPConfig, layers: int, data: Dataset) -> Learner:
        model = MLP(layers, config.width, data.num_classes, dense(config), activation(config))
        optimizer = make_optimizer(config)

        def init(init_key: jax.Array, stream_key: jax.Array) -> State:
            params = model.init(init_key, to_features(data.train.images[:1]), deterministic=True)["params"]
            return State(params, {}, {}, optimizer.init(params), stream_key, jnp.int32(0))

        def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
            key = stream(state, Stream.SAMPLE, state.step)

            def loss_of(params):
                logits = model.apply({"params": params}, to_features(images), deterministic=False, rngs={"sample": key})
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            loss, grads = jax.value_and_grad(loss_of)(state.params)
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Metrics(loss, {})

        def logits(state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array:
            return jnp.asarray(model.apply({"params": state.params}, to_features(images), deterministic=True))

        return Learner(init, step, logits)

    return learner


def _plain_dense(config: MLPConfig) -> Callable[..., nn.Module]:
    return Dense


def _mc_backward(config: MLPConfig) -> Callable[..., nn.Module]:
    return functools.partial(MCDense, ratio=config.ratio, sampler=SAMPLERS[config.sampler], mode="backward")


def _relu(config: MLPConfig) -> Callable[..., Any]:
    return ReLU


def _dropout(config: MLPConfig) -> Callable[..., Any]:
    return functools.partial(Dropout, config.dropout_rate)


def _adaptive_dropout(config: MLPConfig) -> Callable[..., Any]:
    return functools.partial(AdaptiveDropout, config.keep_alpha, config.keep_beta, config.keep_rule)


def _by_blocks(make: Callable[[MLPConfig], active_mlp.Method]) -> Callable[[MLPConfig, int, Dataset], Learner]:
    """A method that trains block by block."""

    def learner(config: MLPConfig, layers: int, data: Dataset) -> Learner:
        model = MLP(layers, config.width, data.num_classes, Dense, ReLU)
        return active_mlp.learner(model, make(config), make_optimizer(config), to_features(data.train.images[:1]))

    return learner


def _alsh(config: MLPConfig) -> active_mlp.Method:
    return active_mlp.hashed(
        size=max(1, round(config.active * config.width)),
        select=config.select,
        rehashes=config.rehash_every > 0,
        num_tables=config.num_tables,
        num_bits=config.num_bits,
        transform=config.transform,
    )


def _mc(config: MLPConfig) -> active_mlp.Method:
    return active_mlp.sampled(ratio=config.ratio, sampler=SAMPLERS[config.sampler])


def _dropout_gathered(config: MLPConfig) -> active_mlp.Method:
    return active_mlp.dropped(rate=config.dropout_rate)


def _adaptive_dropout_gathered(config: MLPConfig) -> active_mlp.Method:
    keep = functools.partial(keep_probability, alpha=config.keep_alpha, beta=config.keep_beta, rule=config.keep_rule)
    return active_mlp.adaptively_dropped(
        keep=keep, rescales=RULES[config.keep_rule].rescales, capacity=config.keep_capacity
    )


METHODS: dict[str, Callable[[MLPConfig, int, Dataset], Learner]] = {
    "standard": _by_autodiff(_plain_dense, _relu),
    "dropout": _by_autodiff(_plain_dense, _dropout),
    "dropout_gathered": _by_blocks(_dropout_gathered),
    "adaptive_dropout": _by_autodiff(_plain_dense, _adaptive_dropout),
    "adaptive_dropout_gathered": _by_blocks(_adaptive_dropout_gathered),
    "alsh": _by_blocks(_alsh),
    "mc": _by_blocks(_mc),
    "mc_backward": _by_autodiff(_mc_backward, _relu),
}
