"""What XLA makes of a program for a described accelerator: compiled without one, and counted."""
