"""Fully connected ReLU networks, He-initialised."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

he_normal = nn.initializers.he_normal()


class MLP(nn.Module):
    """Hidden layers of one width and an exact output layer: `hidden_0`, `hidden_1`, ..., `output`.

    Attributes:
        layers: hidden ones.
        width: units of each.
        num_classes: outputs.
        dense: makes a hidden layer, called as `nn.Dense`.
        activation: makes what follows it, called with its output and a switch `deterministic`.
    """

    layers: int
    width: int
    num_classes: int
    dense: Callable[..., nn.Module]
    activation: Callable[..., Callable[..., jax.Array]]

    @nn.compact
    def __call__(self, x: jax.Array, *, deterministic: bool) -> jax.Array:
        """x `(batch, features)` -> logits `(batch, num_classes)`."""
        for i in range(self.layers):
            z = self.dense(self.width, kernel_init=he_normal, name=f"hidden_{i}")(x, deterministic=deterministic)
            x = self.activation()(z, deterministic=deterministic)
        return nn.Dense(self.num_classes, name="output")(x)


class Dense(nn.Dense):
    """`nn.Dense`, called as the layers that have a switch."""

    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        return super().__call__(x)


class ReLU(nn.Module):
    """Likewise, in the place of dropout."""

    def __call__(self, z: jax.Array, deterministic: bool = True) -> jax.Array:
        return nn.relu(z)


class Dropout(nn.Module):
    """`nn.Dropout` of the activations."""

    rate: float

    @nn.compact
    def __call__(self, z: jax.Array, deterministic: bool = True) -> jax.Array:
        return nn.Dropout(self.rate, rng_collection="sample")(nn.relu(z), deterministic=deterministic)


def to_features(images: jax.Array) -> jax.Array:
    """uint8 images `(batch, ...)` as `(batch, features)` float32 in [0, 1]: a black background stays 0."""
    return images.reshape(images.shape[0], -1).astype(jnp.float32) / 255
