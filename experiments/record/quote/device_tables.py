"""Tables of what was timed on an accelerator, against the rates that it reaches."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from experiments.process.markdown import table
from experiments.record.quote.reading import PERCENT, bench
from experiments.record.quote.speed_tables import speeds

_EXACT = "exact"


def layers(directories: Sequence[Path]) -> list[str]:
    """Single layers."""
    (here,) = directories
    rates = bench(here, "device", "rates")
    rows = []
    for layer, found in bench(here, "device", "layers").items():
        for name, times in found["seconds"].items():
            flops, median = found["flops"][name], statistics.median(times)
            least = max(flops / rates["flops"], found["operands_and_results"] / rates["bytes"])
            cells = f"{1e6 * median:,.0f}", _against(times, found["seconds"][_EXACT]), f"{flops / median / 1e12:.0f}"
            rows.append((layer, name, *cells, f"{PERCENT * least / median:.0f} %"))
    return table(("layer", "variant", "µs", "/ exact", "TFLOP/s", "bound / time"), rows)


def steps(directories: Sequence[Path]) -> list[str]:
    """Training steps."""
    (here,) = directories
    rate = bench(here, "device", "rates", "flops")
    rows = []
    for network, found in bench(here, "device", "steps").items():
        for name, times in found["seconds"].items():
            flops, median = found["flops"][name], statistics.median(times)
            cells = f"{1e3 * median:.2f}", _against(times, found["seconds"][_EXACT]), f"{flops / 1e9:.0f}"
            reached = flops / median
            rows.append((network, name, *cells, f"{reached / 1e12:.0f}", f"{PERCENT * reached / rate:.0f} %"))
    return table(("network", "method", "ms", "/ exact", "GFLOP", "TFLOP/s", "of the rate"), rows)


def _against(times: Sequence[float], exact: Sequence[float]) -> str:
    """Times relative to the exact ones, by round: the median and the range."""
    ratios = speeds(exact, times)
    if times == exact:
        return "1.00"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
