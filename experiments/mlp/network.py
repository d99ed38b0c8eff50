"""The paper's fully connected network."""

import jax
import jax.numpy as jnp
from flax import linen as nn


class MLP(nn.Module):
    """Hidden layers of one width with ReLU, He-initialised, and an output layer: `hidden_0`, `hidden_1`, ..., `output`.

    Attributes:
        layers: hidden ones.
        width: units of each.
        num_classes: outputs.
    """

    layers: int
    width: int
    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x `(batch, features)` -> logits `(batch, num_classes)`."""
        for i in range(self.layers):
            x = nn.relu(nn.Dense(self.width, kernel_init=nn.initializers.he_normal(), name=f"hidden_{i}")(x))
        return nn.Dense(self.num_classes, name="output")(x)


def to_features(images: jax.Array) -> jax.Array:
    """uint8 images `(batch, ...)` as `(batch, features)` float32 in [0, 1]: a black background stays 0."""
    return images.reshape(images.shape[0], -1).astype(jnp.float32) / 255
