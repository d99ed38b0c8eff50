"""Programs over jaxapprox: `python -m experiments.cifar`, `python -m experiments.bench`."""
