"""The paper's CNN: a residual network (ResNet-18) with the CIFAR stem, then two fully connected layers."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxapprox.linen import MCConv

_he_normal = nn.initializers.he_normal()
_EPSILON = 1e-5


class MakeLayer(Protocol):
    """Makes a layer, called as `nn.Conv` or `nn.Dense`; a call of the layer takes a switch `deterministic`."""

    def __call__(self, features: int, *arguments: Any, **options: Any) -> nn.Module: ...


class BatchNorm(nn.Module):
    """Batch normalisation in one multiply-add: `nn.BatchNorm`'s parameters and statistics, in half its time on a CPU.

    It normalises over all axes but the last. The variance is the mean of squares minus the square of the mean, in
    float32, as the multiply-add is; the output has the dtype of x.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, use_running: bool, momentum: jax.Array | float) -> jax.Array:
        """x `(..., channels)`; with `use_running` by the running statistics, else by its own, which are then folded in:
        running = momentum * running + (1 - momentum) * batch."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if use_running:
            mean, var = running_mean.value, running_var.value
        else:
            wide = x.astype(jnp.float32)
            axes = tuple(range(x.ndim - 1))
            mean = jnp.mean(wide, axes)
            var = jnp.maximum(jnp.mean(jnp.square(wide), axes) - jnp.square(mean), 0)
            if not self.is_initializing():
                for running, batch in ((running_mean, mean), (running_var, var)):
                    running.value = momentum * running.value + (1 - momentum) * lax.stop_gradient(batch)
        gain = lax.rsqrt(var + _EPSILON) * scale
        shape = (1,) * (x.ndim - 1) + (channels,)
        return (x * gain.reshape(shape) + (bias - mean * gain).reshape(shape)).astype(x.dtype)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, 1x1 where the shape changes (He et al., CVPR 2016)."""

    features: int
    strides: int
    conv: MakeLayer

    @nn.compact
    def __call__(self, x: jax.Array, *, exact: bool, norm: dict[str, Any]) -> jax.Array:
        def conv(features, window, strides, x):
            kernel = self.conv(
                features, (window, window), strides=strides, use_bias=False, kernel_init=_he_normal, dtype=x.dtype
            )
            return BatchNorm()(kernel(x, deterministic=exact), **norm)

        y = nn.relu(conv(self.features, 3, self.strides, x))
        y = conv(self.features, 3, 1, y)
        if x.shape != y.shape:
            x = conv(self.features, 1, self.strides, x)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """A residual network for small images: 3x3 stem of stride 1, no pooling before the stages. The stem is exact.

    It computes in the dtype of the images; parameters and statistics are float32.

    Attributes:
        width: channels of the first stage, doubled by each stage; 64 is the standard network.
        blocks: of each stage; (2, 2, 2, 2) is ResNet-18.
        num_classes: outputs.
        conv: makes the convolutions inside the blocks, called as `nn.Conv`; an `MCConv` with its sampling bound.
        hidden, output: make the two fully connected layers, called as `nn.Dense`, with a switch `deterministic`.
        hidden_units: of the first of them.
    """

    width: int
    blocks: tuple[int, ...]
    num_classes: int
    conv: MakeLayer
    hidden: MakeLayer
    output: MakeLayer
    hidden_units: int = 1000

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool, exact: bool, momentum: jax.Array | float = 0.9) -> jax.Array:
        """images `(batch, height, width, channels)` float -> logits `(batch, num_classes)` float32.

        Args:
            train: normalise by the batch's own statistics, and fold them into the running ones.
            exact: do without sampling.
            momentum: of the running statistics.
        """
        norm: dict[str, Any] = {"use_running": not train, "momentum": momentum}
        stem = MCConv(self.width, (3, 3), use_bias=False, kernel_init=_he_normal, dtype=images.dtype, name="stem")
        x = nn.relu(BatchNorm(name="stem_norm")(stem(images, deterministic=True), **norm))
        for stage, blocks in enumerate(self.blocks):
            for block in range(blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                x = ResidualBlock(self.width * 2**stage, strides, self.conv)(x, exact=exact, norm=norm)
        x = jnp.mean(x, (1, 2))
        hidden = self.hidden(self.hidden_units, kernel_init=_he_normal, dtype=x.dtype, name="hidden")
        x = nn.relu(hidden(x, deterministic=exact))
        classifier = self.output(self.num_classes, dtype=x.dtype, name="classifier")
        return classifier(x, deterministic=exact).astype(jnp.float32)
