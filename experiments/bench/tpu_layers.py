"""Single layers compiled for a described TPU: output and both gradients, exact and sampled, in bfloat16."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from rich.console import Console

from experiments.bench.single_layers import SIZES, VARIANTS, Sizes, Variant, exact, output_and_gradients
from experiments.bench.tpu_counts import Counted, cells, counted, table
from experiments.bench.tpu_errors import predicted_errors
from experiments.compiler.topology import Topology, shapes_on

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
    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in sizes)
    key_data = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    y = jax.eval_shape(exact, key_data, x, kernel)
    scores = None if variant.scores is None else jax.eval_shape(variant.scores, x, kernel)
    arguments = shapes_on((key_data, x, kernel, y, scores), SingleDeviceSharding(topology.devices[0]))
    return counted(jax.jit(functools.partial(output_and_gradients, variant)).lower(*arguments), topology)
