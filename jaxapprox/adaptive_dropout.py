"""Adaptive dropout (Standout): units are kept with a probability that follows their inner product."""

from jaxapprox._src.adaptive_dropout import RULES, Rule, adaptive_dropout, keep_probability

__all__ = ["RULES", "Rule", "adaptive_dropout", "keep_probability"]
