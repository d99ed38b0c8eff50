"""Fully connected networks by every method (Figures 15 and 16): `python -m experiments.mlp`."""
