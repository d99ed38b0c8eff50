"""Programs compiled for a described TPU, which need not be there: their operations, bytes, memory and least time."""

from typing import Any

from rich.console import Console

from experiments.bench.options import Bench
from experiments.bench.tpu_counts import said
from experiments.bench.tpu_layers import measure_layers, show_layers
from experiments.compiler.topology import describe


def measure(options: Bench) -> dict[str, Any]:
    """The counts of layers, training steps and sweeps."""
    topology = describe("--topology", options.topology)
    return {"tpu": {"topology": topology.name, "layers": measure_layers(topology)}}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of each."""
    found = results["tpu"]
    console.print(f"Compiled for {found['topology']}, counted for one chip.", highlight=False)
    show_layers(found["layers"], console)
    said(console)
