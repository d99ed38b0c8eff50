"""Appendix B in numbers: `python -m experiments.hashing`."""
