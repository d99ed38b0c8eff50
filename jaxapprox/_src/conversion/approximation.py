"""What an existing layer can be replaced by."""

import dataclasses

from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.softmax.settings import SampledSoftmax

ProductApproximation = MC | ALSH
Approximation = ProductApproximation | SampledSoftmax


def described(approximation: Approximation | None) -> str:
    """An approximation with what differs from its defaults; None is "exact"."""
    if approximation is None:
        return "exact"
    shown = []
    for field in dataclasses.fields(approximation):
        value = getattr(approximation, field.name)
        if value != field.default or field.name in ("ratio", "active", "size"):
            name = type(value).__name__ if isinstance(value, tuple) else value  # a tree of arrays
            shown.append(f"{field.name}={getattr(value, '__name__', name)}")
    return f"{type(approximation).__name__}({', '.join(shown)})"
