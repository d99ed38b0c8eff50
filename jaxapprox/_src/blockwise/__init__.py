"""Training that touches blocks of the weights alone: active sets, rows, lazy optimizers."""
