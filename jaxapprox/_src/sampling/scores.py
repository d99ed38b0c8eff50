"""What scores say about rows: how likely each is to be drawn.

Values are never refused, so that a draw means the same within compiled programs, which can't look at them, and
outside: a negative score counts as zero, a NaN or infinite one as the largest (so that the row is kept, and shows), and
all-zero scores as equal ones.
"""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxapprox._src.wide import at_least_float32

_SMALLEST_SHARE = 1e-20  # keeps every inclusion probability positive when `uniform_mix` is zero

_P = ParamSpec("_P")
_T = TypeVar("_T")


def one_program(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function of `scores`, `num_samples` and perhaps a key and `uniform_mix`, checked and compiled as one program.

    It is given scores that `finite_scores` has cleaned. Within another compiled program it is a part of that.
    """
    signature = inspect.signature(function)
    plain: Callable[..., _T] = function

    @functools.partial(jax.jit, static_argnames=("num_samples", "uniform_mix"), inline=True)
    def program(scores, **arguments):
        return plain(**arguments, scores=finite_scores(scores))

    @functools.wraps(function)
    def checked(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        check_scores(arguments["scores"], arguments["num_samples"])
        if "uniform_mix" in arguments:
            check_uniform_mix(arguments["uniform_mix"])
        return program(**arguments)

    return checked


@one_program
def inclusion_probabilities(scores: jax.Array, num_samples: int, *, uniform_mix: float = 0.1) -> jax.Array:
    r"""pi_i = min(1, lambda s~_i) with lambda such that they sum to `num_samples`; each is in (0, 1].

    s~ = (1 - uniform_mix) s / \sum s + uniform_mix / n. The largest rows are kept for certain and the others share what
    is left, which minimises the variance of `bernoulli` for the scores s~.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import inclusion_probabilities
    >>> print(inclusion_probabilities(jnp.array([6.0, 1.0, 1.0]), 2, uniform_mix=0))
    [1.  0.5 0.5]

    Args:
        scores: `(n,)` non-negative; a negative one counts as zero, a NaN or infinite one as the largest.
        num_samples: k, a Python int in [1, n].
        uniform_mix: in [0, 1]; 1 makes all probabilities k / n.

    Returns:
        `(n,)` float32 (or wider, as the scores).

    Raises:
        ValueError: if the shape of `scores` or another argument is not as above.
    """
    shares = shares_of(scores, uniform_mix)
    n, k = shares.shape[0], num_samples
    if k == n:
        return jnp.ones_like(shares)
    largest_first = lax.top_k(shares, n)[0]
    tails = jnp.cumsum(largest_first[::-1])[::-1]  # tails[m]: what all but the m largest add up to
    certain = jnp.arange(k, dtype=shares.dtype)
    scale = (k - certain) / tails[:k]
    certain_count = jnp.argmax(scale * largest_first[:k] <= 1)  # the last candidate always fits
    probabilities = jnp.minimum(1, scale[certain_count] * shares)
    # Ties with the m-th largest share stay below 1 by construction; the m largest are exactly 1.
    return jnp.where((certain_count > 0) & (shares >= largest_first[certain_count - 1]), 1, probabilities)


def check_scores(scores: jax.Array, num_samples: int) -> None:
    """Refuses all but scores of shape `(n,)` and a `num_samples` that fits."""
    if getattr(scores, "ndim", None) != 1 or scores.shape[0] == 0:
        raise ValueError(f"scores must have shape (n,) with n >= 1, got shape {np.shape(scores)}")
    n = scores.shape[0]
    if isinstance(num_samples, bool) or not isinstance(num_samples, int | np.integer) or not 1 <= num_samples <= n:
        raise ValueError(f"num_samples must be a Python int between 1 and n = {n}, got {num_samples!r}")


def check_uniform_mix(uniform_mix: float) -> None:
    """Refuses all but numbers in [0, 1]."""
    if not isinstance(uniform_mix, int | float | np.number) or not 0 <= uniform_mix <= 1:
        raise ValueError(f"uniform_mix must be a number in [0, 1], got {uniform_mix!r}")


def finite_scores(scores: jax.Array) -> jax.Array:
    """Scores as finite non-negative numbers of at least float32, without a gradient, whole on every device.

    Negative scores become 0; NaN, infinite and huger ones the largest that n of them can have without overflow.
    """
    scores = _whole(lax.stop_gradient(scores))
    scores = scores.astype(at_least_float32(scores.dtype))
    largest = jnp.finfo(scores.dtype).max / (8 * scores.shape[0])  # 1 / sum is a normal number too
    return jnp.where(scores <= largest, jnp.maximum(scores, 0), largest)


def _whole(scores: jax.Array) -> jax.Array:
    """`scores`, if they are split over an explicit mesh axis, on every device: each draws from all of them."""
    sharding = jax.typeof(scores).sharding
    if not any(sharding.spec):
        return scores
    return jax.sharding.reshard(scores, jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec()))


def shares_of(scores: jax.Array, uniform_mix: float) -> jax.Array:
    """Positive numbers that add up to 1: the share of each row in the scores, mixed with uniform."""
    n = scores.shape[0]
    total = jnp.sum(scores)
    shares = jnp.where(total > 0, scores / jnp.where(total > 0, total, 1), 1 / n)
    return jnp.maximum((1 - uniform_mix) * shares + uniform_mix / n, _SMALLEST_SHARE)
