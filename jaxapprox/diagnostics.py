"""How well a hashed layer's tables serve it: recall, random fill, empty buckets and drift, from a few examples.

`diagnose` is cheap enough to be left on. `jaxapprox.linen.ALSHDense` calls it for its collection "diagnostics".
"""

from jaxapprox._src.hashing.diagnostics import Diagnostics, diagnose

__all__ = ["Diagnostics", "diagnose"]
