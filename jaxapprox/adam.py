"""Adam with one division for each entry instead of three."""

from jaxapprox._src.blockwise.adam import adam

__all__ = ["adam"]
