"""Samplers: which rows of a contraction to keep, how to weigh them, and how much noise that adds."""
