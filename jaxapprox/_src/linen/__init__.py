"""The layers for Flax Linen, and the conversion of its models."""
