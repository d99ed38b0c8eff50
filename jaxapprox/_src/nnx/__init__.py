"""The layers for Flax NNX, and the conversion of its models."""
