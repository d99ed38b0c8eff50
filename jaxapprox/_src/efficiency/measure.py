"""Whether sampling pays, measured: noise, times and memory for two losses."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from jaxapprox._src.checks import check_key
from jaxapprox._src.efficiency.examples import check_examples
from jaxapprox._src.efficiency.noise import check_sizes, gradient_noise
from jaxapprox._src.efficiency.progress import LADDER, Efficiency, efficiency
from jaxapprox._src.efficiency.timing import time_steps


def measure(
    key: jax.Array,
    exact_loss: Callable[[Any, Any], jax.Array],
    sampled_loss: Callable[[jax.Array, Any, Any], jax.Array],
    params: Any,
    examples: Any,
    *,
    optimizer: optax.GradientTransformation | None = None,
    sizes: tuple[int, int] = (16, 64),
    ladder: Sequence[int] = LADDER,
    unbiased: bool = False,
) -> Efficiency:
    """Measures whether training on a sampled loss makes more progress per second than on the exact one.

    Steps are timed on this machine, exact and sampled in turn, and the noise of their gradients is measured; with 512
    examples all that takes about as long as 100 exact steps of 64 examples, and compiling.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox import mc_dense
    >>> from jaxapprox.efficiency import measure
    >>> def exact(w, batch):
    ...     return jnp.mean((batch[0] @ w - batch[1]) ** 2)
    >>> def sampled(key, w, batch):
    ...     return jnp.mean((mc_dense(key, batch[0], w, ratio=0.25) - batch[1]) ** 2)
    >>> x = jax.random.normal(jax.random.key(0), (512, 64))
    >>> examples = x, x @ jax.random.normal(jax.random.key(1), (64, 8))
    >>> found = measure(jax.random.key(2), exact, sampled, jnp.zeros((64, 8)), examples)
    >>> bool(found.low <= found.value <= found.high)
    True

    Args:
        key: for the draws.
        exact_loss: parameters and a batch -> the mean loss, a scalar.
        sampled_loss: a key, parameters and a batch -> its estimate, or another loss to train on.
        params: a tree of floating arrays, as they are at any time of training.
        examples: a tree of arrays `(n, ...)` in random order.
        optimizer: whose step is timed; by default SGD with momentum.
        sizes: two batch sizes at which noise is measured, as in `jaxapprox.efficiency.gradient_noise`.
        ladder: the batch sizes that both may choose from.
        unbiased: the gradient of `sampled_loss` is known to be right on average.

    Raises:
        ValueError: if an argument does not fit, there are too few examples, or a loss or a gradient is not finite.
    """
    check_key(key)
    check_examples(examples)
    check_sizes(sizes)
    optimizer = optax.sgd(0.01, momentum=0.9) if optimizer is None else optimizer
    noise_key, time_key = jax.random.split(key)
    timed = time_steps(
        time_key, lambda _, params, batch: exact_loss(params, batch), sampled_loss, params, examples, optimizer
    )
    noise = gradient_noise(
        noise_key, jax.grad(exact_loss), jax.grad(sampled_loss, argnums=1), params, examples, sizes=sizes
    )
    return efficiency(
        noise,
        timed.exact,
        timed.sampled,
        ladder,
        unbiased=unbiased,
        memory=timed.memory,
        timing_seconds=timed.seconds,
    )
