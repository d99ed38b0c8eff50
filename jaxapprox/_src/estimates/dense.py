"""The Monte-Carlo matrix product."""

from typing import Any

import jax

from jaxapprox._src.checks import check_key, check_operands
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.estimates.products import dot_general
from jaxapprox._src.sampling.samplers import Sampler, systematic


def mc_dense(
    key: jax.Array,
    x: jax.Array,
    kernel: jax.Array,
    *,
    ratio: float,
    sampler: Sampler = systematic,
    unit: str = "channel",
    mode: str = "forward",
    min_samples: int = 1,
    block_size: int | None = None,
    implementation: str | None = None,
    precision: Any = None,
    preferred_element_type: Any = None,
    scores: jax.Array | None = None,
    return_scores: bool = False,
) -> Any:
    """The Monte-Carlo estimate of `x @ kernel` by column-row sampling (the paper's section 4.2, MC-approx).

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import mc_dense, topk
    >>> key, x, kernel = jax.random.key(0), jnp.array([[3.0, 0.0, 1.0, 2.0]]), jnp.ones((4, 2))
    >>> print(x @ kernel, mc_dense(key, x, kernel, ratio=0.5, sampler=topk))  # 3 and 2 are kept
    [[6. 6.]] [[5. 5.]]
    >>> draw = jax.jit(jax.vmap(lambda key: mc_dense(key, x, kernel, ratio=0.5)))
    >>> draws = draw(jax.random.split(key, 1000))
    >>> bool(jnp.allclose(draws.mean(0), x @ kernel, atol=0.2))  # other samplers than topk are right on average
    True

    Args:
        key: a PRNG key.
        x: `(..., in)`, any floating or complex dtype; all leading axes together are the examples.
        kernel: `(in, out)`, of the same dtype.
        ratio: share of the rows to keep, in (0, 1]; k = max(min_samples, round(ratio n)), and k = n is exact.
        sampler: `systematic`, `importance`, `uniform`, `bernoulli`, `topk`, or any `jaxapprox.Sampler`.
        unit: "channel" keeps single input units, "block" blocks of neighbouring ones, as in `jaxapprox.mc_conv`; "edge"
            is the same as "channel".
        mode: "forward" estimates the output over input units, and gradients flow through the kept ones only;
            "backward" is exact and estimates the input gradient over output units, the kernel gradient over examples;
            "straight_through" estimates the output and has the exact gradients;
            "kernel" is exact but for the kernel gradient, over examples drawn by the norms of x: of x only these are
            kept for the backward pass.
        min_samples: the fewest rows to keep (all, where there are fewer).
        block_size, implementation: as in `jaxapprox.mc_conv`.
        precision, preferred_element_type: as in `lax.dot_general`.
        scores, return_scores: as in `jaxapprox.mc_conv`.

    Returns:
        `(..., out)` in the dtype of x, or in `preferred_element_type`; with `return_scores` a pair of it and scores.

    Raises:
        ValueError: if an argument is not as above, in a line that names it.
    """
    method = MC(ratio, sampler, unit, mode, min_samples, block_size, implementation)
    check_key(key)
    check_operands(x, kernel)
    if x.ndim < 1 or kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"kernel must have shape (in, out) with in = x.shape[-1], got {kernel.shape} for x {x.shape}")
    contracted = (((x.ndim - 1,), (0,)), ((), ()))
    estimated = dot_general(method, key, scores, x, kernel, contracted, precision, preferred_element_type)
    return estimated if return_scores else estimated[0]
