"""Programs compiled for a described TPU, which need not be there: their operations, bytes, memory and least time."""

from typing import Any

from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.tpu_counts import said
from experiments.bench.tpu_layers import measure_layers, show_layers
from experiments.bench.tpu_steps import measure_steps, show_steps
from experiments.bench.tpu_sweeps import measure_sweeps, show_sweeps
from experiments.compiler.topology import describe


def measure(options: Bench) -> dict[str, Any]:
    """The counts of layers, training steps and sweeps, as far as `options.chip_programs` asks for them."""
    topology = describe("--topology", options.topology)
    measured = {
        "layers": lambda: measure_layers(topology),
        "steps": lambda: measure_steps(options, topology),
        "sweeps": lambda: measure_sweeps(options, topology),
    }
    return {"tpu": {"topology": topology.name, **{name: measured[name]() for name in options.chip_programs}}}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of each."""
    found = results["tpu"]
    console.print(f"Compiled for {found['topology']}, counted for one chip.", highlight=False)
    for name, shown in (("layers", show_layers), ("steps", show_steps), ("sweeps", show_sweeps)):
        if name in found:
            shown(found[name], console)
    said(console)
