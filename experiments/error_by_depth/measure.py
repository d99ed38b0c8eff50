"""Runs random networks with every layer estimated, beside the exact ones.

ReLU networks as initialised by He's rule, with normal inputs; each example draws its own sample.
"""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.error_by_depth.layers import EstimatedLayer, Layer
from experiments.error_by_depth.options import ErrorByDepth
from experiments.process.errors import UsageError
from experiments.training.compilation import jit

_QUANTITIES = ("error", "cosine")
_LARGEST = 1e15  # |h^| / |h| whose square float32 holds, as it does its inverse


def check_range(estimated: dict[str, EstimatedLayer], options: ErrorByDepth) -> None:
    """Raises a UsageError if float32 can't hold the activations that theory predicts of the deepest layer."""
    for name, one in estimated.items():
        if not 1 / _LARGEST < one.prediction.size[-1] < _LARGEST:
            raise UsageError(f"--layers must be fewer, got {options.layers}: {name} would leave the range of float32")


def measure(estimated: dict[str, EstimatedLayer], options: ErrorByDepth) -> dict[str, Any]:
    """Means and standard deviations over networks after each layer, and what is predicted, by the layer's name."""
    measured = measure_layers({name: one.layer for name, one in estimated.items()}, options)
    return {
        name: {
            "measured": {quantity: _spread(values) for quantity, values in measured[name].items()},
            "predicted": {quantity: getattr(one.prediction, quantity) for quantity in _QUANTITIES},
        }
        for name, one in estimated.items()
    }


def measure_layers(layers: dict[str, Layer], options: ErrorByDepth) -> dict[str, dict[str, np.ndarray]]:
    """The relative error and the cosine after each layer, of each kind of layer: `(networks, layers)` each."""
    measured: dict[str, dict[str, list[jax.Array]]] = {name: {q: [] for q in _QUANTITIES} for name in layers}
    compiled = {name: jit(_compare(layer, options.draws)) for name, layer in layers.items()}
    make = jit(lambda key: make_network(key, options.width, options.layers, options.examples))
    for key in jax.random.split(jax.random.key(options.seed), options.networks):
        network_key, *draw_keys = jax.random.split(key, 1 + len(layers))
        x, kernels, exact = make(network_key)
        for draw_key, (name, compare) in zip(draw_keys, compiled.items(), strict=True):
            for quantity, values in compare(draw_key, x, kernels, exact).items():
                measured[name][quantity].append(values)
    return {name: {q: np.asarray(values, np.float64) for q, values in of.items()} for name, of in measured.items()}


def make_network(key: jax.Array, width: int, layers: int, examples: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A random network and its inputs.

    Returns:
        Normal inputs `(examples, width)`, He-initialised kernels `(layers, width, width)`, and the exact activations
        `(layers, examples, width)`.
    """
    input_key, kernel_key = jax.random.split(key)
    x = jax.random.normal(input_key, (examples, width))
    kernels = jax.random.normal(kernel_key, (layers, width, width)) * (2 / width) ** 0.5

    def step(h, kernel):
        h = jax.nn.relu(h @ kernel)
        return h, h

    return x, kernels, lax.scan(step, x, kernels)[1]


def _compare(layer: Layer, draws: int) -> Callable[..., dict[str, jax.Array]]:
    """Runs a network with every layer estimated, `draws` times, beside the exact activations."""

    def one(key, x, kernels, exact):
        def step(h_hat, now):
            key, kernel, h = now
            h_hat = layer(key, h_hat, kernel)
            lengths = jnp.linalg.norm(h, axis=1) * jnp.linalg.norm(h_hat, axis=1)
            cosine = jnp.sum(h * h_hat, 1) / jnp.where(lengths > 0, lengths, 1)
            return h_hat, (jnp.mean(jnp.sum(jnp.square(h_hat - h), 1)), jnp.mean(cosine))

        return lax.scan(step, x, (jax.random.split(key, len(kernels)), kernels, exact))[1]

    def compare(key, x, kernels, exact):
        # One draw after another: a sampled product gathers a kernel for each example.
        keys = jax.random.split(key, draws)
        squares, cosines = lax.map(lambda key: one(key, x, kernels, exact), keys)
        square = jnp.mean(jnp.sum(jnp.square(exact), 2), 1)
        return {"error": jnp.sqrt(jnp.mean(squares, 0) / square), "cosine": jnp.mean(cosines, 0)}

    return compare


def _spread(values: np.ndarray) -> dict[str, Any]:
    """Mean and standard deviation over networks, of `(networks, layers)`; a single network has no deviation."""
    columns = values.T.tolist()
    deviation = [statistics.stdev(column) for column in columns] if len(values) > 1 else None
    return {"mean": [statistics.mean(column) for column in columns], "std": deviation}
