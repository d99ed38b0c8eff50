"""A run on disk and on screen: its directory, checkpoints, progress, summary and figures."""
