"""The peer within JAX: the same ResNet-18 in plain `flax.linen`, whose steps are jitted one by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn


class PlainResNet18(nn.Module):
    """ResNet-18 for small images, as one writes it with Flax's own layers."""

    width: int
    num_classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def conv(x, features, window, strides):
            x = nn.Conv(features, (window, window), strides, use_bias=False)(x)
            return nn.BatchNorm(use_running_average=False, momentum=0.9)(x)

        x = nn.relu(conv(x, self.width, 3, 1))
        for stage in range(4):
            for block in range(2):
                features, strides = self.width * 2**stage, 2 if stage and not block else 1
                y = conv(nn.relu(conv(x, features, 3, strides)), features, 3, 1)
                x = nn.relu(y + (x if x.shape == y.shape else conv(x, features, 1, strides)))
        x = nn.relu(nn.Dense(1000)(jnp.mean(x, (1, 2))))
        return nn.Dense(self.num_classes)(x)


def make_step(width: int, batch_size: int) -> Callable[[], jax.Array]:
    """A function that trains one step on fixed random images and returns the loss."""
    model = PlainResNet18(width)
    image_key, label_key, init_key = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(image_key, (batch_size, 32, 32, 3))
    labels = jax.random.randint(label_key, (batch_size,), 0, 10)
    variables = model.init(init_key, images[:1])
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.01, momentum=0.9, nesterov=True))

    @jax.jit
    def step(variables, opt_state):
        def loss_of(params):
            logits, updated = model.apply({**variables, "params": params}, images, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updated

        (loss, updated), grads = jax.value_and_grad(loss_of, has_aux=True)(variables["params"])
        updates, opt_state = optimizer.update(grads, opt_state, variables["params"])
        return {"params": optax.apply_updates(variables["params"], updates), **updated}, opt_state, loss

    carry = [variables, optimizer.init(variables["params"])]

    def run():
        *carry[:], loss = step(*carry)
        return loss

    return run
