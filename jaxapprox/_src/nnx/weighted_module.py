"""The base of layers with a kernel: the kernel, a bias, and the dtype to compute in."""

from typing import Any

import jax
from flax import nnx
from flax.linen.dtypes import promote_dtype
from flax.typing import Initializer

from jaxapprox._src.nnx.random_module import RandomModule

default_kernel_init = nnx.initializers.lecun_normal()
default_bias_init = nnx.initializers.zeros_init()


class WeightedModule(RandomModule):
    """A `RandomModule` with a kernel `(*window, in, out)` and a bias `(out,)`, drawn as Flax draws them, or None."""

    def __init__(
        self,
        kernel_shape: tuple[int, ...],
        use_bias: bool,
        dtype: Any,
        param_dtype: Any,
        kernel_init: Initializer,
        bias_init: Initializer,
        deterministic: bool,
        rng_collection: str,
        rngs: nnx.Rngs,
    ):
        super().__init__(deterministic, rng_collection, rngs)
        self.in_features, self.out_features = kernel_shape[-2:]
        self.use_bias, self.dtype, self.param_dtype = use_bias, dtype, param_dtype
        self.kernel = nnx.Param(kernel_init(rngs.params(), kernel_shape, param_dtype))
        self.bias = nnx.Param(bias_init(rngs.params(), kernel_shape[-1:], param_dtype)) if use_bias else None

    def _promoted(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """x, kernel and bias, in the dtype to compute in."""
        bias = None if self.bias is None else self.bias[...]
        return tuple(promote_dtype(x, self.kernel[...], bias, dtype=self.dtype))
