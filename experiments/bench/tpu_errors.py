"""How far off the samples of a single layer are, by what theory predicts of them on random activations."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxapprox import MC
from jaxapprox.linen import advise

_POSITIONS = 128  # of all examples together, where there are more


def predicted_errors(x: tuple[int, ...], kernel: tuple[int, ...], methods: dict[str, MC]) -> dict[str, float]:
    """The relative error that `jaxapprox.linen.advise` predicts of a layer's output, or in mode "kernel" its gradient.

    The kernel is as initialized, and the input random: normal numbers times a scale of each channel, which is the
    exponential of a normal number, through a ReLU. It is that of fewer examples, as that many positions allow.

    Args:
        x: the shape of the layer's input.
        kernel: that of its kernel; of a convolution, or where it is a matrix of a dense layer.
        methods: by any names.
    """
    *positions, channels = x
    examples = max(2, min(positions[0], _POSITIONS * positions[0] // math.prod(positions)))
    scales_key, x_key, kernel_key, key = jax.random.split(jax.random.key(0), 4)
    scales = jnp.exp(jax.random.normal(scales_key, (*[1] * len(positions), channels)))
    inputs = nn.relu(scales * jax.random.normal(x_key, (examples, *x[1:])))
    outputs = kernel[-1]
    layer = nn.Dense(outputs, use_bias=False) if len(kernel) == 2 else nn.Conv(outputs, kernel[:-2], use_bias=False)
    model = nn.Sequential([layer])
    variables = model.init(kernel_key, inputs)
    distinct = {name: dataclasses.replace(method, implementation=None) for name, method in methods.items()}
    errors = {
        method: advise(model, [("layers_0", method)], variables, inputs, key=key).layers[0].error
        for method in dict.fromkeys(distinct.values())
    }
    return {name: errors[method] for name, method in distinct.items()}
