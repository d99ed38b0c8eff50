"""Methods against exact training for the same seconds, each as well tuned: `python -m experiments.race`."""
