"""An answer to whether approximating pays, layer by layer: operations, time on this machine and expected error."""

import dataclasses
import logging
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxapprox._src.conversion.approximation import Approximation, ProductApproximation, described
from jaxapprox._src.conversion.cost import Cost, Steps, expected_seconds, measure, steps_of
from jaxapprox._src.conversion.layer_products import hash_tables
from jaxapprox._src.conversion.predicted_error import relative_error
from jaxapprox._src.conversion.recorder import Recorded, Recorder
from jaxapprox._src.conversion.rules import Layer, Report, Rules
from jaxapprox._src.efficiency.progress import Efficiency
from jaxapprox._src.softmax.settings import SampledSoftmax
from jaxapprox._src.text_table import aligned

_LOG = logging.getLogger("jaxapprox")
_LONG = 10.0  # seconds of waiting from which a user is told by default


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
    """Layer by layer, in the model's order; `str` gives a table.

    Attributes:
        layers: what is known of each layer.
        efficiency: of the model as advised, if `advise` was given a loss and examples, and approximates a layer.
    """

    layers: tuple[LayerAdvice, ...]
    efficiency: Efficiency | None = None

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
            + (f"\n\nAs advised, in all:\n{self.efficiency}" if self.efficiency is not None else "")
        )


def check_thresholds(min_speedup: float, max_error: float) -> None:
    """Raises a ValueError unless both are positive numbers."""
    for name, value in (("min_speedup", min_speedup), ("max_error", max_error)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")


def check_together(loss: Any, examples: Any) -> None:
    """Raises a ValueError if one is given without the other."""
    if (loss is None) != (examples is None):
        missing, given = ("loss", "examples") if loss is None else ("examples", "loss")
        raise ValueError(f"{missing} must be given with {given}, got None")


def judge(
    key: jax.Array, rules: Rules, report: Report, recorder: Recorder, min_speedup: float, max_error: float
) -> Advice:
    """Measures what was recorded by the methods of `report`, and judges it.

    A layer that a rule names in full is approximated whatever comes out, and so is one by a `SampledSoftmax`.
    """
    named = {pattern for pattern, _ in rules}
    recorded = recorder.recorded()
    steps = _steps(key, report, recorded)
    costs: dict[Any, Cost] = {}
    advice = []
    for number, (layer, tried, why) in enumerate(report.outcomes):
        if isinstance(tried, SampledSoftmax):
            why = "not measured: a loss takes the place of its product"
            advice.append(LayerAdvice(layer, tried, 0, None, math.nan, tried, why))
            continue
        if tried is None or layer.path not in recorded:
            advice.append(LayerAdvice(layer, tried, 0, None, math.nan, None, why or "it was not called"))
            continue
        product, lhs, rhs = recorded[layer.path]
        kind = _kind(recorded[layer.path], tried)
        tables_key, error_key, cost_key = jax.random.split(jax.random.fold_in(key, number), 3)
        operands = jnp.asarray(lhs), jnp.asarray(rhs)
        tables = hash_tables(tables_key, tried, operands[1])
        try:
            error = relative_error(product, tried, error_key, tables, *operands)
        except ValueError as refusal:
            raise ValueError(f"{layer.path}: {refusal}") from refusal
        if kind not in costs:
            costs[kind] = measure(steps[kind], cost_key, tables, *operands)
        cost = costs[kind]
        _LOG.info("advise: %s is measured, %d of %d kinds of layers are", layer.path, len(costs), len(steps))
        speedup = cost.exact_seconds / cost.seconds
        objections = [f"speed-up {speedup:.2f}, below {min_speedup}"] if speedup < min_speedup else []
        if math.isnan(error):
            objections.append("no relative error, for the product of its first call is 0 or not finite")
        elif error > max_error:
            objections.append(f"error {error:.2f}, above {max_error}")
        forced = layer.path in named
        why = "; ".join(["a rule names it"] * forced + objections)
        method = tried if forced or not objections else None
        advice.append(LayerAdvice(layer, tried, recorder.calls[layer.path], cost, error, method, why))
    return Advice(tuple(advice))


def _steps(key: jax.Array, report: Report, recorded: dict[str, Recorded]) -> dict[Any, Steps]:
    """What is to be measured, by kind, having told the user how long that will take."""
    steps: dict[Any, Steps] = {}
    for path, tried in report.products.items():
        if path in recorded and (kind := _kind(recorded[path], tried)) not in steps:
            product, lhs, rhs = recorded[path]
            tables = jax.eval_shape(lambda key, rhs, tried=tried: hash_tables(key, tried, rhs), key, rhs)
            steps[kind] = steps_of(product, tried, key, tables, lhs, rhs)
    seconds = expected_seconds(list(steps.values()))
    level = logging.WARNING if seconds > _LONG else logging.INFO
    _LOG.log(level, "advise: it takes about %.0f s to measure all kinds of layers (%d)", seconds, len(steps))
    return steps


def _kind(recorded: Recorded, tried: ProductApproximation) -> Any:
    """What layers that take equally long have in common."""
    product, lhs, rhs = recorded
    return product, lhs.shape, lhs.dtype, rhs.shape, rhs.dtype, tried
