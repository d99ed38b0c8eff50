"""Why ALSH-approx collapsed, one ingredient at a time: `python -m experiments.collapse`."""
