"""Existing models with approximated layers, and whether that pays: what both Flax APIs share."""
