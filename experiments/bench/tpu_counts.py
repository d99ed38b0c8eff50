"""What the part tpu counts of a program that is compiled for a described chip, and a row that shows it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.compiler.roofline import count_turn
from experiments.compiler.topology import DoesNotFit, Topology, compiled, memory_bytes

Counted = dict[str, Any]
"""An entry of bench.json: the numbers of a `Count`, and of memory; "needed" alone where a program does not fit."""


def counted(lowered: jax.stages.Lowered, topology: Topology, *, depth: int = 0) -> Counted:
    """Compiles a program for a chip of the topology, or for all of them, and counts.

    Args:
        lowered: for the topology's devices.
        topology: of the chips.
        depth: of the loop of which one turn is counted; 0 for the whole program.
    """
    try:
        program = compiled(lowered)
    except DoesNotFit as error:
        return {"needed": error.needed}
    found = count_turn(program.as_text() or "", topology.chip, depth)
    memory: Any = program.memory_analysis()
    floor = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return {**dataclasses.asdict(found), "memory": memory_bytes(program), "operands_and_results": floor}


def per_step(first: Counted, others: Counted, every: int) -> Counted:
    """The mean over steps of which the first one of each `every` differs from the others; of memory the most."""
    if "needed" in first or "needed" in others:
        return {"needed": max(found.get("needed", 0) for found in (first, others))}
    mean = {name: (first[name] + (every - 1) * others[name]) / every for name in others}
    return mean | {name: max(first[name], others[name]) for name in ("memory", "unknown_loops")}


def table(title: str, *names: str, against: str = "exact") -> Table:
    """A table of counts, whose first columns are named so, and its ratios by what they are against."""
    ratio = f"/ {against}"
    counts = ("GFLOP", "MB", ratio, "VMEM MB", "roofline µs", ratio, "XLA's kcycles", "memory MB", "collectives")
    columns = Table(*names, *counts, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns.title = title
    return columns


def cells(found: Counted, exact: Counted | None) -> list[str]:
    """The cells of a row of `table`, after the first ones.

    Args:
        found: of a program.
        exact: of the one that it is compared with.
    """
    if "needed" in found:
        return ["", "", "", "", "", "", "", f"{found['needed'] / 1e6:,.0f}: too much", ""]
    both = found, {} if exact is None else exact
    collectives = f"{found['collectives']:.0f} ({_mega(found['collective_bytes'])} MB)" if found["collectives"] else ""
    unknown = " + loops" if found["unknown_loops"] else ""
    return [
        f"{found['flops'] / 1e9:.4g}",
        _mega(found["bytes"]),
        _ratio("bytes", *both),
        _mega(found["on_chip_bytes"]),
        f"{1e6 * found['seconds']:,.4g}{unknown}",
        _ratio("seconds", *both),
        f"{found['estimated_cycles'] / 1e3:,.0f}",
        _mega(found["memory"]),
        collectives,
    ]


def said(console: Console) -> None:
    """What a reader must know of the columns."""
    console.print(
        "A compiler's count, and no run. GFLOP: products and convolutions, without padding. MB: read from and written"
        " to HBM. roofline: the sum over kernels of the larger of bytes and FLOPs over the chip's peak rates (of"
        " bfloat16, as which float32 products run too); what is moved within VMEM takes no time in it, nor do exchanges"
        " between chips. XLA's kcycles: what the compiler itself expects, which leaves out gathers and sorts. memory:"
        " arguments, results and temporaries. + loops: some whose turns can't be told, counted once.",
        highlight=False,
    )


def _mega(number: float) -> str:
    return f"{number / 1e6:,.4g}" if number < 1e10 else f"{number / 1e6:,.0f}"


def _ratio(name: str, found: Mapping[str, Any], exact: Mapping[str, Any]) -> str:
    return f"{found[name] / exact[name]:.2f}" if exact.get(name) else ""
