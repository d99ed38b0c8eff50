"""An answer to whether approximating pays, layer by layer: operations, time on this machine and expected error."""

import dataclasses
import math
from typing import NamedTuple

import jax

from jaxapprox._src.conversion.approximation import Approximation, described
from jaxapprox._src.conversion.cost import Cost, measure
from jaxapprox._src.conversion.layer_products import Shape, hash_tables, relative_error
from jaxapprox._src.conversion.recorder import Recorder
from jaxapprox._src.conversion.rules import Layer, Report, Rules, aligned


class LayerAdvice(NamedTuple):
    """What is known of a layer, and what to do with it.

    Attributes:
        layer: the layer.
        tried: the method that the rules give it; None where it stays exact without a measurement.
        calls: how often the model calls it.
        cost: the cost of its first call; None if not measured.
        error: the relative error to expect of that call, the root of E |estimate - exact|^2 / |exact|^2 over all
            examples together; NaN if unknown.
        method: the method that is advised; None for exact.
        why: the reason.
    """

    layer: Layer
    tried: Approximation | None
    calls: int
    cost: Cost | None
    error: float
    method: Approximation | None
    why: str


@dataclasses.dataclass(frozen=True)
class Advice:
    """Layer by layer, in the model's order; `str` gives a table."""

    layers: tuple[LayerAdvice, ...]

    @property
    def rules(self) -> list[tuple[str, Approximation | None]]:
        """A rule for each layer that is to be approximated, as `convert` takes them."""
        return [(advice.layer.path, advice.method) for advice in self.layers if advice.method is not None]

    def seconds(self, which: str = "advised") -> float:
        """The seconds of all calls of the measured layers in a training step.

        Args:
            which: "exact", "tried" (all approximated, by their rules) or "advised".
        """
        total = 0.0
        for advice in self.layers:
            if advice.cost is not None:
                approximated = which == "tried" or (which == "advised" and advice.method is not None)
                total += advice.calls * (advice.cost.seconds if approximated else advice.cost.exact_seconds)
        return total

    def __str__(self) -> str:
        heading = "layer in out calls MFLOPs approx. ms approx. speed-up error advice why"
        rows = [tuple(heading.split())]
        for layer, _, calls, cost, error, method, why in self.layers:
            sizes = (layer.path, str(layer.inputs or ""), str(layer.outputs or ""))
            if cost is None:
                measured = ("",) * 7
            else:
                flops = (f"{cost.exact_flops / 1e6:.3g}", f"{cost.flops / 1e6:.3g}")
                times = (f"{cost.exact_seconds * 1e3:.3g}", f"{cost.seconds * 1e3:.3g}")
                speed = f"{cost.exact_seconds / cost.seconds:.2f}"
                measured = (str(calls), *flops, *times, speed, f"{error:.2f}")
            rows.append((*sizes, *measured, described(method), why))
        milliseconds = {which: f"{1e3 * self.seconds(which):.3g} ms" for which in ("exact", "tried", "advised")}
        return (
            f"{aligned(rows)}\nThe measured layers in a training step, {jax.default_backend()}: exact"
            f" {milliseconds['exact']}, all approximated {milliseconds['tried']}, as advised {milliseconds['advised']}"
        )


def check_thresholds(min_speedup: float, max_error: float) -> None:
    """Raises a ValueError unless both are positive numbers."""
    for name, value in (("min_speedup", min_speedup), ("max_error", max_error)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")


def judge(
    key: jax.Array, rules: Rules, report: Report, recorder: Recorder, min_speedup: float, max_error: float
) -> Advice:
    """Measures what was recorded by the methods of `report`, and judges it.

    A layer that a rule names in full is approximated whatever comes out.
    """
    named = {pattern for pattern, _ in rules}
    products = recorder.products()
    costs: dict[tuple[Shape, Approximation], Cost] = {}
    advice = []
    for number, (layer, tried, why) in enumerate(report.outcomes):
        if tried is None or layer.path not in products:
            advice.append(LayerAdvice(layer, tried, 0, None, math.nan, None, why or "it was not called"))
            continue
        shape, x, kernel = products[layer.path]
        tables_key, error_key, cost_key = jax.random.split(jax.random.fold_in(key, number), 3)
        tables = hash_tables(tables_key, tried, kernel)
        error = relative_error(shape, tried, error_key, tables, x, kernel)
        if (shape, tried) not in costs:  # equal layers take equally long
            costs[shape, tried] = measure(shape, tried, cost_key, tables, x, kernel)
        cost = costs[shape, tried]
        speedup = cost.exact_seconds / cost.seconds
        objections = [f"speed-up {speedup:.2f}, below {min_speedup}"] if speedup < min_speedup else []
        objections += [] if error <= max_error else [f"error {error:.2f}, above {max_error}"]
        forced = layer.path in named
        why = "; ".join(["a rule names it"] * forced + objections)
        method = tried if forced or not objections else None
        advice.append(LayerAdvice(layer, tried, recorder.calls[layer.path], cost, error, method, why))
    return Advice(tuple(advice))
