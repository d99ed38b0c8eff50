r"""Training neural networks with sampled matrix products, in JAX.

A product is a sum over n rows, y = \sum_i a_i \otimes b_i. A sample keeps k of them and weighs them such that the sum
is right on average. `mc_dense` and `mc_conv` compute that estimate, `MC` holds its settings, and a `Sampler` draws the
rows.

The modules in this folder are the public ones; what lies in `_src` may change from release to release.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxapprox._src.api import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        """The names in `_src/api.py`, on first use: `jaxapprox.registry` can be read without importing JAX."""
        from jaxapprox._src import api

        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        from jaxapprox._src import api

        return sorted({*globals(), *api.__all__})
