"""Speed on this machine: `python -m experiments.bench`. Each part is a module, registered in `parts`."""
