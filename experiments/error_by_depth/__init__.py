"""How the error of an estimated forward pass grows with depth: `python -m experiments.error_by_depth`."""
