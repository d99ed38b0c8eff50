"""Single layers timed on this machine's device: output and both gradients, exact and sampled, in bfloat16."""

import functools
import math
import statistics
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.device_rates import Rates, against, each_by_round
from experiments.bench.single_layers import SIZES, VARIANTS, Sizes, Variant, exact, output_and_gradients, sampled
from experiments.training.compilation import jit

_REFUSED = "refused"

FORMS: Mapping[str, Variant] = {
    f"mc 0.5 block of {size}, {name}": sampled(ratio=0.5, unit="block", block_size=size, implementation=form)
    for size in (32, 64, 128)
    for name, form in (("kernels", "pallas"), ("XLA's", "xla"))
}
"""Both implementations of a sample of blocks, by the channels of a block."""


def measure_layers(rounds: int) -> dict[str, dict[str, Any]]:
    """By layer: seconds by round of each variant, and why others are refused here."""
    return {name: _measured(sizes, rounds) for name, sizes in SIZES.items()}


def show_layers(results: dict[str, dict[str, Any]], rates: Rates, console: Console) -> None:
    """Prints a table of medians, and of times relative to the exact layer's."""
    columns = ("layer", "variant", "µs", "/ exact", "TFLOP/s", "bound / time")
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title = "Layers in bfloat16, output and both gradients, on this device"
    for layer, found in results.items():
        for variant, times in found["seconds"].items():
            flops, median = found["flops"][variant], statistics.median(times)
            least = max(flops / rates.flops, found["operands_and_results"] / rates.bytes)
            cells = (against(times, found["seconds"]["exact"]), f"{flops / median / 1e12:.3g}", f"{least / median:.0%}")
            table.add_row(layer, variant, f"{1e6 * median:,.4g}", *cells)
        for variant in found[_REFUSED]:
            table.add_row(layer, variant, "refused", "", "", "")
        table.add_section()
    console.print(table)
    console.print(
        "bound: the larger of the products' FLOPs and of operands and results moved once, at the rates above. Of a"
        " refused variant the record says why.",
        highlight=False,
    )


def _measured(sizes: Sizes, rounds: int) -> dict[str, Any]:
    x_key, kernel_key, g_key, key = jax.random.split(jax.random.key(0), 4)
    x, kernel = (jax.random.normal(k, s, jnp.bfloat16) for k, s in zip((x_key, kernel_key), sizes, strict=True))
    kernel = kernel / math.sqrt(math.prod(sizes.kernel[:-1]))
    shape = jax.eval_shape(exact, key, x, kernel).shape
    g = jax.random.normal(g_key, shape, jnp.bfloat16)
    products = 3 * 2 * math.prod(shape) * math.prod(sizes.kernel[:-1])  # borders included
    called, flops, refused = {}, {}, {}
    for name, variant in {**VARIANTS, **FORMS}.items():
        scores = None if variant.scores is None else variant.scores(x, kernel)
        operands = jax.random.key_data(key), x, kernel, g, scores
        try:
            program = jit(functools.partial(output_and_gradients, variant)).lower(*operands).compile()
        except ValueError as error:  # an implementation that this device lacks
            refused[name] = str(error)
        else:
            called[name], flops[name] = functools.partial(program, *operands), variant.share * products
    return {
        "seconds": each_by_round(called, rounds),
        "flops": flops,
        _REFUSED: refused,
        "operands_and_results": 2 * (x.nbytes + kernel.nbytes + g.nbytes),
    }
