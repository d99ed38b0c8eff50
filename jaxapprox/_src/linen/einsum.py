"""The call of `nn.Einsum` with a product to choose, for which Flax has no attribute."""

import math
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.estimates.einsum_axes import einsum_axes


def call_einsum(
    product: Callable[..., jax.Array], module: Any, inputs: jax.Array, einsum_str: str | None = None
) -> jax.Array:
    """What `nn.Einsum` computes, by `product` in the place of `jnp.einsum`.

    Raises:
        ValueError: if the equation is not given once, or not of the form "inputs,kernel->output".
    """
    kernel = module.param("kernel", module.kernel_init, module.shape, module.param_dtype)
    equation, _, of_kernel, of_output = _axes(module, inputs, kernel, einsum_str)
    sizes = dict(zip(of_kernel, kernel.shape, strict=True))
    bias = None
    if module.use_bias:
        shape = [sizes[name] for name in of_output if name in sizes]
        bias = module.param("bias", module.bias_init, shape, module.param_dtype)
    inputs, kernel, bias = module.promote_dtype(inputs, kernel, bias, dtype=module.dtype)
    preferred = getattr(module, "preferred_element_type", None)  # not in Flax before 0.12
    y = product(equation, inputs, kernel, precision=module.precision, preferred_element_type=preferred)
    return y if bias is None else y + bias.reshape([sizes.get(name, 1) for name in of_output])


def einsum_sizes(module: Any, inputs: jax.Array, einsum_str: str | None = None) -> tuple[int, int]:
    """The number of terms in each of the sums that a call of an `nn.Einsum` computes, and of the kernel's units."""
    kernel = jax.ShapeDtypeStruct(module.shape, module.param_dtype)
    _, of_inputs, of_kernel, of_output = _axes(module, inputs, kernel, einsum_str)
    sizes = dict(zip(of_kernel, kernel.shape, strict=True))
    terms = math.prod(size for name, size in sizes.items() if name in of_inputs and name not in of_output)
    units = math.prod(size for name, size in sizes.items() if name in of_output and name not in of_inputs)
    return terms, units


def _axes(module: Any, inputs: Any, kernel: Any, einsum_str: str | None) -> tuple[str, str, str, str]:
    """The equation of a call, and a character for each axis of the inputs, the kernel and the output."""
    equation: str = nn.merge_param("einsum_str", module.einsum_str, einsum_str)
    return equation, *einsum_axes(equation, inputs.ndim, len(kernel.shape))
