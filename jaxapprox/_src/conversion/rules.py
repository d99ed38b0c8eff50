"""Rules that say which layers of a model are approximated, and how: the first whose pattern matches decides."""

import dataclasses
import difflib
import fnmatch
from collections.abc import Sequence
from typing import NamedTuple

from jaxapprox._src.conversion.approximation import Approximation, ProductApproximation, described
from jaxapprox._src.conversion.refusals import BY_CLASS
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.softmax.settings import SampledSoftmax
from jaxapprox._src.text_table import aligned

_FEWEST_BLOCKS = 8  # a sample of fewer is too noisy
Rules = Sequence[tuple[str, Approximation | None]]


class Layer(NamedTuple):
    """A layer of a model, as the rules see it.

    Attributes:
        path: names from the model down, joined by "/".
        kind: its class's name.
        inputs, outputs: channels or units, within a group of a grouped convolution; 0 where that has no meaning.
        refusal: why the method that the rules give it (see `method_of`) can't replace it; empty if it can.
    """

    path: str
    kind: str
    inputs: int
    outputs: int
    refusal: str


class Outcome(NamedTuple):
    """What became of a layer: the method that replaces it or None, and why."""

    layer: Layer
    method: Approximation | None
    why: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What a conversion replaced, and what it left alone and why, in the model's order; `str` gives a table."""

    outcomes: tuple[Outcome, ...]

    @property
    def methods(self) -> dict[str, Approximation]:
        """The methods of the replaced layers, by path."""
        return {outcome.layer.path: outcome.method for outcome in self.outcomes if outcome.method is not None}

    @property
    def products(self) -> dict[str, ProductApproximation]:
        """Of these, the methods that approximate a layer's product, by path; others put a loss in its place."""
        return {path: method for path, method in self.methods.items() if not isinstance(method, SampledSoftmax)}

    def check_not_empty(self) -> None:
        """Raises a ValueError if no layer is replaced."""
        if not self.methods:
            whys = "; ".join(f"{outcome.layer.path}: {outcome.why}" for outcome in self.outcomes)
            raise ValueError(f"rules must approximate a layer, got none ({whys})")

    def __str__(self) -> str:
        rows = [("layer", "kind", "in", "out", "becomes", "why")]
        for (path, kind, inputs, outputs, _), method, why in self.outcomes:
            rows.append((path, kind, str(inputs or ""), str(outputs or ""), described(method), why))
        return aligned(rows)


def decide(rules: Rules, layers: Sequence[Layer], *, keep_ends: bool, min_channels: int) -> Report:
    """Finds each layer's rule, and checks that every rule does something.

    A rule with a wildcard is optional for each layer: it passes over layers that can't be replaced, the first and the
    last layer (if `keep_ends`; a `SampledSoftmax` is for the last one), and layers with few channels. A rule without a
    wildcard is mandatory: it replaces the first and the last layer and layers with few channels too, and is an error
    for a layer that can't be replaced.

    Args:
        rules: (pattern, method) pairs. Patterns are those of `fnmatch` on the whole path; `*` matches "/" as well. The
            method None leaves a layer exact.
        layers: in the order in which the model has them.
        keep_ends: leave the first and the last of them exact.
        min_channels: sampling needs at least so many: input channels for `MC` (output channels in mode "backward"),
            units for `ALSH` and `SampledSoftmax`. With blocks of them as rows it needs eight blocks as well.

    Raises:
        ValueError: if a rule is no such pair, matches no layer (the nearest paths are named), matches only layers that
            earlier rules took, or replaces none of those it matches (each is named, with the reason), unless it has a
            wildcard and one of them can't be replaced for how it was made.
    """
    rules = _checked(rules)
    taken: dict[int, list[Outcome]] = {i: [] for i in range(len(rules))}
    outcomes = []
    for position, layer in enumerate(layers):
        number = next((i for i, (pattern, _) in enumerate(rules) if fnmatch.fnmatchcase(layer.path, pattern)), None)
        if number is None:
            outcomes.append(Outcome(layer, None, layer.refusal or "no rule matches"))
            continue
        pattern, method = rules[number]
        why = "a rule says so" if method is None else layer.refusal
        if not why and method is not None and _has_wildcard(pattern):
            end = "first" if position == 0 else "last" if position == len(layers) - 1 else ""
            kept = keep_ends and end and not isinstance(method, SampledSoftmax)  # which is for the last layer alone
            why = f"the {end} layer (keep_ends)" if kept else _too_few(layer, method, min_channels)
        outcome = Outcome(layer, None if why else method, why)
        outcomes.append(outcome)
        taken[number].append(outcome)
    for number, (pattern, method) in enumerate(rules):
        _check_use(pattern, method, taken[number], [layer.path for layer in layers])
    return Report(tuple(outcomes))


def method_of(rules: Rules, path: str) -> Approximation | None:
    """The method of the first rule that matches a layer's path; None if that rule leaves it exact, or none matches."""
    return next((method for pattern, method in _checked(rules) if fnmatch.fnmatchcase(path, pattern)), None)


def _checked(rules: Rules) -> list[tuple[str, Approximation | None]]:
    if isinstance(rules, str) or not isinstance(rules, Sequence):
        raise ValueError(f"rules must be a sequence of (pattern, method) pairs, got {rules!r}")
    for rule in rules:
        pair = isinstance(rule, tuple | list) and len(rule) == 2 and isinstance(rule[0], str)
        if not pair or not isinstance(rule[1], MC | ALSH | SampledSoftmax | None):
            methods = "MC(...), ALSH(...), SampledSoftmax(...) or None"
            raise ValueError(f"rules must be (pattern, method) pairs with method {methods}, got {rule!r}")
    return [(pattern, method) for pattern, method in rules]


def _too_few(layer: Layer, method: Approximation, least: int) -> str:
    """What the layer has fewer of than `least`, or an empty string."""
    sampled_outputs = not isinstance(method, MC) or method.mode == "backward"
    number = layer.outputs if sampled_outputs else layer.inputs
    what = "units" if not isinstance(method, MC) else "output channels" if sampled_outputs else "input channels"
    if number < least:
        return f"{number} {what}, fewer than min_channels = {least}"
    if isinstance(method, MC) and method.unit == "block" and method.mode != "kernel":
        try:
            size = method.block(number)
        except ValueError as refusal:
            return str(refusal)
        if number < _FEWEST_BLOCKS * size:
            return f"{number // size} blocks of {size} {what}, fewer than {_FEWEST_BLOCKS}"
    return ""


def _has_wildcard(pattern: str) -> bool:
    return any(character in pattern for character in "*?[")


def _check_use(pattern: str, method: Approximation | None, taken: Sequence[Outcome], paths: Sequence[str]) -> None:
    """Raises a ValueError unless the rule decided about a layer, and replaced one if it has a method."""
    if not taken:
        matched = [path for path in paths if fnmatch.fnmatchcase(path, pattern)]
        if matched:
            raise ValueError(f"rule {pattern!r} must come before those that take its layers: {_listed(matched)}")
        near = difflib.get_close_matches(pattern, paths, n=5, cutoff=0.3) or paths
        raise ValueError(f"rule {pattern!r} must match a layer, got none; near it: {_listed(near) or 'no layers'}")
    optional = _has_wildcard(pattern) and any(outcome.layer.refusal not in ("", *BY_CLASS) for outcome in taken)
    if method is not None and not optional and all(outcome.method is None for outcome in taken):
        reasons = _listed([f"{outcome.layer.path} ({outcome.why})" for outcome in taken])
        raise ValueError(f"rule {pattern!r} must match a layer that {described(method)} can replace, got {reasons}")


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
