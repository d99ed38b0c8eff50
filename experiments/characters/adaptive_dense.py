"""A dense layer whose kernel gradient is estimated from a share of the rows that changes while it is trained.

The forward pass and the input gradient are exact. As in VCAS (Wang et al., ICLR 2024), rows are drawn in the backward
pass by the norms of both factors, and the estimate is unbiased.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxapprox import mc_dense

LEVELS = "levels"
"""The collection that holds each layer's level: which of the shares is kept."""


class AdaptiveDense(nn.Dense):
    """`nn.Dense` whose variable `level`, int32 in the collection "levels", says which of `shares` of the rows it keeps.

    Attributes:
        shares: the first is 1, at which the gradient is exact.
    """

    shares: tuple[float, ...] = (1.0,)

    @nn.compact
    def __call__(self, inputs: jax.Array, deterministic: bool = False) -> jax.Array:
        """inputs `(..., in)` -> `(..., features)`; all leading axes together are the rows."""
        kernel = self.param("kernel", self.kernel_init, (inputs.shape[-1], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        if not deterministic or self.is_initializing():
            level = self.variable(LEVELS, "level", jnp.int32, 0)
        if deterministic:
            return inputs @ kernel + bias
        rows = inputs.reshape(-1, inputs.shape[-1])
        y = dense(self.shares, self.make_rng("sample"), level.value, rows, kernel)
        return y.reshape(*inputs.shape[:-1], -1) + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def dense(shares: tuple[float, ...], key: jax.Array, level: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`, whose kernel gradient is estimated from a share of the rows: `shares[level]`.

    Only the work of that share is done, but under `vmap` over levels that of all.

    Args:
        shares: in (0, 1].
        key: a PRNG key.
        level: int32 scalar.
        x: `(rows, in)`.
        kernel: `(in, out)`.
    """
    return x @ kernel


def _forward(shares, key, level, x, kernel):
    return x @ kernel, (key, level, x, kernel)


def _backward(shares, kept, g):
    key, level, x, kernel = kept

    def kernel_gradient(share):
        # A product that is not needed is not computed: the estimate of the kernel's gradient alone is.
        product = functools.partial(mc_dense, key, x, ratio=share, mode="backward")
        return lambda: jax.vjp(product, kernel)[1](g)[0]

    return None, None, g @ kernel.T, lax.switch(level, [kernel_gradient(share) for share in shares])


dense.defvjp(_forward, _backward)
