"""The paper's CNN by every method (Table 3): `python -m experiments.cifar`."""
