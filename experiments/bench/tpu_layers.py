"""Single layers compiled for a described TPU: output and both gradients, exact and sampled, in bfloat16."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from rich.console import Console

from experiments.bench.tpu_counts import Counted, cells, counted, table
from experiments.bench.tpu_errors import predicted_errors
from experiments.compiler.topology import Topology, shapes_on
from jaxapprox import MC, conv, mc_conv, mc_dense, topk


class Layer(Protocol):
    """A convolution, or where the kernel is a matrix a dense layer; scores are kept from another step, or None."""

    def __call__(
        self, key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None, /
    ) -> jax.Array: ...


class Sizes(NamedTuple):
    """Those of a layer.

    Attributes:
        x: the shape of its input.
        kernel: that of its kernel.
    """

    x: tuple[int, ...]
    kernel: tuple[int, ...]


def exact(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
    """The layer itself."""
    return conv(x, kernel) if kernel.ndim == 4 else x @ kernel


def half(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
    """The exact layer on the first half of its input channels: what a sample of a half can't be cheaper than."""
    kept = x.shape[-1] // 2
    return exact(key, x[..., :kept], kernel[..., :kept, :])


class Variant(NamedTuple):
    """A form of a layer.

    Attributes:
        layer: what is compiled.
        method: by which it is sampled, whose error theory predicts.
        scores: from operands, those that it is given; None for none.
    """

    layer: Layer
    method: MC | None = None
    scores: Callable[..., Any] | None = None


def sampled(*, keeps_scores: bool = False, **settings: Any) -> Variant:
    """The layer with these settings of `jaxapprox.mc_conv` and `jaxapprox.mc_dense`; perhaps by scores that it has."""

    def estimate(kernel: jax.Array) -> Callable[..., Any]:
        return functools.partial(mc_conv if kernel.ndim == 4 else mc_dense, **settings)

    def layer(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
        return estimate(kernel)(key, x, kernel, scores=scores)

    def scores(x: jax.Array, kernel: jax.Array) -> Any:
        return estimate(kernel)(jax.random.key(0), x, kernel, return_scores=True)[1]

    return Variant(layer, MC(**settings), scores if keeps_scores else None)


VARIANTS: Mapping[str, Variant] = {
    "exact": Variant(exact),
    "mc 0.5 topk": sampled(ratio=0.5, sampler=topk),
    "mc 0.5 systematic": sampled(ratio=0.5),
    "mc 0.5 kernel": sampled(ratio=0.5, mode="kernel"),
    "mc 0.5 block": sampled(ratio=0.5, unit="block"),
    "mc 0.25 block": sampled(ratio=0.25, unit="block"),
    "mc 0.5 block, scores kept": sampled(keeps_scores=True, ratio=0.5, unit="block"),
    "mc 0.5 block, XLA's": sampled(ratio=0.5, unit="block", implementation="xla"),
    "bound": Variant(half),
}
"""What is compiled, by name; the first is what the others are compared with."""

SIZES = {
    "conv 64, 32 x 32": Sizes((128, 32, 32, 64), (3, 3, 64, 64)),
    "conv 512, 4 x 4": Sizes((128, 4, 4, 512), (3, 3, 512, 512)),
    "conv 1024, 4 x 4": Sizes((128, 4, 4, 1024), (3, 3, 1024, 1024)),
    "dense 4096": Sizes((4096, 4096), (4096, 4096)),
}
"""The layers; of the convolutions with their kernels of 3 x 3 the channels and the image, at batch 128."""

_ERROR = "predicted_error"


def measure_layers(topology: Topology) -> dict[str, dict[str, Counted]]:
    """The counts of each variant, and of the sampled ones the predicted error, by layer."""
    return {name: _measured(sizes, topology) for name, sizes in SIZES.items()}


def show_layers(results: dict[str, dict[str, Counted]], console: Console) -> None:
    """Prints a table of counts.

    "/ floor" is against operands and results moved once each, "error" is what `predicted_errors` has.
    """
    rows = table("Layers in bfloat16, output and both gradients", "layer", "variant", "error", "/ floor")
    for layer, by_variant in results.items():
        first = next(iter(by_variant.values()))
        for variant, found in by_variant.items():
            floor = first.get("operands_and_results")
            above = f"{found['bytes'] / floor:.2f}" if floor and "bytes" in found else ""
            error = f"{found[_ERROR]:.2f}" if _ERROR in found else ""
            rows.add_row(layer, variant, error, above, *cells(found, first))
        rows.add_section()
    console.print(rows)


def _measured(sizes: Sizes, topology: Topology) -> dict[str, Counted]:
    methods = {name: variant.method for name, variant in VARIANTS.items() if variant.method is not None}
    errors = predicted_errors(*sizes, methods)
    return {
        name: _counted(variant, sizes, topology) | ({_ERROR: errors[name]} if name in errors else {})
        for name, variant in VARIANTS.items()
    }


def _counted(variant: Variant, sizes: Sizes, topology: Topology) -> Counted:
    def output_and_gradients(
        key_data: jax.Array, x: jax.Array, kernel: jax.Array, cotangent: jax.Array, scores: jax.Array | None
    ) -> Any:
        key = jax.random.wrap_key_data(key_data)
        y, pull = jax.vjp(lambda x, kernel: variant.layer(key, x, kernel, scores), x, kernel)
        return y, pull(cotangent)

    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in sizes)
    key_data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    y = jax.eval_shape(exact, key_data, x, kernel)
    scores = None if variant.scores is None else jax.eval_shape(variant.scores, x, kernel)
    arguments = shapes_on((key_data, x, kernel, y, scores), SingleDeviceSharding(topology.devices[0]))
    return counted(jax.jit(output_and_gradients).lower(*arguments), topology)
