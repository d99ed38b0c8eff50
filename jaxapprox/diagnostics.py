"""How well a hashed layer's tables serve it."""

from jaxapprox._src.hashing.diagnostics import Diagnostics, diagnose

__all__ = ["Diagnostics", "diagnose"]
