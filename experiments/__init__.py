"""The paper's experiments as programs, `python -m experiments.NAME`, and the rooms that they share.

Programs: `cifar` (ResNet-18; Table 3), `mlp` (Figures 15 and 16), `words` (an output layer with a class for every
word), `collapse` (why ALSH-approx failed), `hashing` (Appendix B), `error_by_depth`, `choose` (sampler and mode of mc),
`bench` (speed). From Python: `sweep`.

Rooms, each of which imports only those after it: `runs` (a run directory, its checkpoints, summary and figures),
`seeds` (many seeds of many settings by one compiled program each), `training` (options, methods, the training loop),
`data`, `process` (how a program begins, ends and writes). `results` holds what was recorded.
"""
