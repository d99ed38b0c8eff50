"""Tables of what a compiler counts for a chip that need not be there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.process.markdown import table
from experiments.record.quote.forms import NOTHING
from experiments.record.quote.reading import bench

_Counted = Mapping[str, Any]


def layers(directories: Sequence[Path]) -> list[str]:
    """Single layers."""
    (here,) = directories
    rows = []
    for layer, variants in bench(here, "tpu", "layers").items():
        exact = variants["exact"]
        for name, found in variants.items():
            cells = (
                _error(found),
                f"{found['flops'] / 1e9:.1f}",
                f"{found['bytes'] / 1e6:.1f}",
                f"{found['bytes'] / exact['operands_and_results']:.2f}",
                f"{found['on_chip_bytes'] / 1e6:.0f}",
                f"{1e6 * found['seconds']:,.0f}",
                f"{found['seconds'] / exact['seconds']:.2f}",
                _cycles(name, found, exact),
            )
            rows.append((layer, name, *cells))
    head = ("layer", "variant", "error", "GFLOP", "MB", "/ floor", "VMEM MB", "roofline µs", "/ exact")
    return table((*head, "cycles / exact"), rows)


def steps(directories: Sequence[Path]) -> list[str]:
    """Training steps of several records; what an earlier one has is left out of the later ones."""
    networks: dict[str, Mapping[str, _Counted]] = {}
    for here in directories:
        for network, variants in bench(here, "tpu", "steps").items():
            named = network if "ResNet" not in network or "float" in network else f"{network}, float32"
            networks.setdefault(named, variants)
    rows = []
    for network, variants in networks.items():
        first = next(iter(variants.values()))
        for name, found in variants.items():
            cells = (
                f"{found['flops'] / 1e9:,.3g}",
                f"{found['bytes'] / 1e6:,.4g}",
                f"{found['on_chip_bytes'] / 1e6:,.0f}",
                f"{1e6 * found['seconds']:,.0f}",
                f"{found['seconds'] / first['seconds']:.2f}",
                _cycles(name, found, first),
                f"{found['memory'] / 1e6:,.0f}",
            )
            rows.append((network, name, *cells))
    head = ("network", "method", "GFLOP", "MB", "VMEM MB", "roofline µs", "/ first", "cycles / first", "memory MB")
    return table(head, rows)


def sweeps(directories: Sequence[Path]) -> list[str]:
    """Steps of many seeds."""
    rows = []
    for here in directories:
        for method, counts in bench(here, "tpu", "sweeps").items():
            (alone, one), *_ = counts.items()
            for name, found in counts.items():
                seeds = int(name.split()[0])
                cycles = found["estimated_cycles"] / _on_a_chip(name) / one["estimated_cycles"]
                cells = (
                    f"{found['bytes'] / 1e6:,.0f}",
                    f"{1e6 * found['seconds']:,.0f}",
                    f"{1e6 * found['seconds'] / _on_a_chip(name):,.0f}",
                    f"{cycles:.2f}",
                    f"{found['memory'] / 1e9:.2f}",
                )
                assert seeds > 1 or name == alone
                rows.append((method, name, *cells))
    head = ("method", "seeds", "MB a step", "roofline µs", "a seed's", "XLA's cycles of a seed, relative", "memory GB")
    return table(head, rows)


def _on_a_chip(name: str) -> float:
    """How many seeds a chip has: of "16 over 4 chips" four."""
    words = name.split()
    return int(words[0]) / (int(words[2]) if words[1] == "over" else 1)


def _error(found: _Counted) -> str:
    return f"{found['predicted_error']:.2f}" if "predicted_error" in found else ""


def _cycles(name: str, found: _Counted, exact: _Counted) -> str:
    """XLA's own; where kernels by Pallas do a part, of which it knows nothing, there is none."""
    by_pallas = "block" in name and "XLA's" not in name and found["flops"] < exact["flops"]
    return NOTHING if by_pallas else f"{found['estimated_cycles'] / exact['estimated_cycles']:.2f}"
