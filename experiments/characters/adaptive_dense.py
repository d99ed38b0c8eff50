"""A dense layer whose kernel gradient is estimated from a share of the rows that changes while it is trained.

The forward pass and the input gradient are exact. As in VCAS (Wang et al., ICLR 2024), rows are drawn in the backward
pass by the norms of both factors, and the estimate is unbiased. Here the draw is by priorities (Duffield, Lund, Thorup
2007), so that one ranking of the rows serves every share.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

LEVELS = "levels"
"""The collection that holds each layer's level: which of the shares is kept."""
_UNIFORM = 0.1  # share of the uniform distribution in the scores, as the library's samplers have


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
        promoted: Any = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        inputs, kernel, bias = promoted
        rows = inputs.reshape(-1, inputs.shape[-1])
        if deterministic:
            product = rows @ kernel
        else:
            product = dense(self.shares, self.make_rng("sample"), level.value, rows, kernel)
        return (product + bias[None]).reshape(*inputs.shape[:-1], self.features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def dense(shares: tuple[float, ...], key: jax.Array, level: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel`, whose kernel gradient is estimated from a share of the rows: `shares[level]`.

    Only the work of that share is done, but under `vmap` over levels that of all.

    Args:
        shares: in (0, 1]; the gradient is exact at 1.
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
    kernel_gradient = lax.switch(level, [_exact if share == 1 else _from(share) for share in shares], key, x, g)
    return None, None, g @ kernel.T, kernel_gradient


dense.defvjp(_forward, _backward)


def _exact(key: jax.Array, x: jax.Array, g: jax.Array) -> jax.Array:
    return x.T @ g


def _from(share: float) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """The kernel gradient from a share of the rows: those of the highest priority, the score over a uniform number.

    A row is weighted by max(1, highest priority that is left out / score), which is 1 on average with 0 for left out.
    """

    def estimate(key: jax.Array, x: jax.Array, g: jax.Array) -> jax.Array:
        rows = x.shape[0]
        count = min(max(1, round(share * rows)), rows - 1)
        scores = _norms(x) * _norms(g)
        scores = (1 - _UNIFORM) * scores + _UNIFORM * jnp.mean(scores)
        uniform = jax.random.uniform(key, (rows,), scores.dtype, jnp.finfo(scores.dtype).tiny)
        priorities, kept = lax.top_k(scores / uniform, count + 1)
        kept, scores = kept[:-1], scores[kept[:-1]]
        weights = jnp.maximum(1, priorities[-1] / jnp.where(scores > 0, scores, 1))
        return x[kept].T @ (weights[:, None] * g[kept]).astype(g.dtype)

    return estimate


def _norms(a: jax.Array) -> jax.Array:
    """Of the rows, in float32: priorities in bfloat16 would often tie."""
    return jnp.linalg.norm(a.astype(jnp.float32), axis=1)
