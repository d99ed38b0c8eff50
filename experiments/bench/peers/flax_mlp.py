"""The peer for MLP speed on the same XLA: `nn.Dense`, autodiff and optax, as a user of Flax writes it."""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import lax

from experiments.data.dataset import Split
from experiments.mlp.network import MLP, to_features

_OPTIMIZERS = {"sgd": lambda lr: optax.sgd(lr), "adam": lambda lr: optax.adam(lr, eps=1e-4)}


def make_epoch(layers: int, width: int, optimizer: str, lr: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A training epoch at batch 1, in the order of the images, in one `scan`.

    Args:
        layers, width: of the network.
        optimizer: "sgd" or "adam".
        lr: learning rate.

    Returns:
        init: (key, split) -> state, and epoch: (state, split) -> (state, losses (n,)).
    """
    model, update = MLP(layers, width, 10), _OPTIMIZERS[optimizer](lr)

    def init(key: jax.Array, split: Split) -> Any:
        params = model.init(key, to_features(split.images[:1]))
        return params, update.init(params)

    def step(state, example):
        params, opt_state = state
        image, label = example

        def loss_of(params):
            logits = model.apply(params, to_features(image[None]))
            return optax.softmax_cross_entropy_with_integer_labels(logits, label[None]).mean()

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, opt_state = update.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return init, lambda state, split: lax.scan(step, state, split)
