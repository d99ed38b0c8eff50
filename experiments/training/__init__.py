"""What all training programs share: options, methods, learners and the training loop."""
