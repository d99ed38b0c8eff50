"""A small transformer on the characters of a text: `python -m experiments.characters`."""
