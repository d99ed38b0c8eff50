"""Dense layers between sets of active units, for networks that are trained block by block.

Each layer takes `Active` values, chooses the units or the inputs that it works on, and returns with its output a
pull-back: from the gradient in the output's values to that in the input's values, and to a `jaxapprox.blocks.Block` for
each of its parameters, as `jaxapprox.lazy` takes them. No more of the parameters than those blocks is read.

Parameters are `{"kernel": (in, units), "bias": (units,)}` where a layer chooses inputs (`dense`, `sampled`), and
`{"weights": (units, in), "bias": (units,)}` where it chooses units.
"""

from jaxapprox._src.blockwise.active_layers import Active, PullBack, adaptively_dropped, dense, dropped, hashed, sampled

__all__ = ["Active", "PullBack", "adaptively_dropped", "dense", "dropped", "hashed", "sampled"]
