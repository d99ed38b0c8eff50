"""Words in context, with every word of a vocabulary as a class: `python -m experiments.words`."""
