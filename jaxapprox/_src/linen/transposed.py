"""The call of `nn.ConvTranspose` with a product to choose, for which Flax has no attribute."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxapprox._src.conversion.transposed import masked, transposed_convolution


def call_transposed(product: Callable[..., jax.Array], module: Any, inputs: jax.Array) -> jax.Array:
    """What `nn.ConvTranspose` computes, by `product` in the place of `lax.conv_transpose`.

    Raises:
        ValueError: if the mask does not have the kernel's shape, or as the product does.
    """
    channels = (inputs.shape[-1], module.features)
    shape = (*np.atleast_1d(module.kernel_size).tolist(), *(channels[::-1] if module.transpose_kernel else channels))
    kernel = masked(module, module.param("kernel", module.kernel_init, shape, module.param_dtype))
    bias = module.param("bias", module.bias_init, channels[1:], module.param_dtype) if module.use_bias else None
    return transposed_convolution(product, module, *module.promote_dtype(inputs, kernel, bias, dtype=module.dtype))
