"""Adaptive dropout (Standout): units are kept with a probability that follows their inner product.

The layers are `jaxapprox.linen.AdaptiveDropout` and `jaxapprox.nnx.AdaptiveDropout`; these are the functions in them.
"""

from jaxapprox._src.adaptive_dropout import RULES, Rule, adaptive_dropout, keep_probability

__all__ = ["RULES", "Rule", "adaptive_dropout", "keep_probability"]
