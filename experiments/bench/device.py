"""The programs that the part tpu counts, timed on this machine's device."""

from typing import Any

from rich.console import Console

from experiments.bench.device_layers import measure_layers, show_layers
from experiments.bench.device_rates import Rates, measure_rates, show_rates
from experiments.bench.device_steps import measure_steps, show_steps
from experiments.bench.options import Bench
from experiments.process.checks import listed
from experiments.process.errors import UsageError


def measure(options: Bench) -> dict[str, Any]:
    """Rates, and times of layers and training steps as far as `options.chip_programs` asks for them.

    Raises:
        UsageError: if it asks for neither.
    """
    measured = {"layers": lambda: measure_layers(options.rounds), "steps": lambda: measure_steps(options)}
    asked = [name for name in measured if name in options.chip_programs]
    if not asked:
        programs = listed(options.chip_programs) or "none"
        raise UsageError(f"--chip-programs must have layers or steps for the part device, got {programs}")
    rates = measure_rates(options.rounds)._asdict()
    return {"device": {"rates": rates, **{name: measured[name]() for name in asked}}}


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of each."""
    found = results["device"]
    rates = Rates(**found["rates"])
    show_rates(rates, console)
    for name, shown in (("layers", show_layers), ("steps", show_steps)):
        if name in found:
            shown(found[name], rates, console)
