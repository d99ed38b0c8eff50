"""Dense layers between sets of active units, for networks that are trained block by block."""

from jaxapprox._src.blockwise.active_layers import Active, PullBack, adaptively_dropped, dense, dropped, hashed, sampled

__all__ = ["Active", "PullBack", "adaptively_dropped", "dense", "dropped", "hashed", "sampled"]
