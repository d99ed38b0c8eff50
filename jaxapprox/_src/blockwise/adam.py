"""Adam with one division for each entry instead of three."""

import jax
import jax.numpy as jnp
import optax


def adam(
    learning_rate: optax.ScalarOrSchedule, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    r"""`optax.adam`, with the bias corrections folded into two numbers a step.

    u = -a m / (\sqrt v + e), a = learning_rate \sqrt{1 - b2^t} / (1 - b1^t), e = eps \sqrt{1 - b2^t}: the form that the
    authors give at the end of their section 2, equal to optax's but for rounding. Where an update is bound by
    arithmetic (on a CPU, where it is fused or on blocks that fit the cache), divisions are most of it.

    Args:
        learning_rate: a number or a schedule.
        b1, b2: decay of the first and the second moment.
        eps: added to the root of the corrected second moment.

    Returns:
        An optax pair with the state of `optax.scale_by_adam`.

    References:
        Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.int32(0), zeros, jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * jnp.square(g), state.nu, updates)
        root = jnp.sqrt(1 - b2**count)
        peak = learning_rate(state.count) if callable(learning_rate) else learning_rate
        rate, least = -peak * root / (1 - b1**count), eps * root

        def scaled(m, v):
            return (rate * m / (jnp.sqrt(v) + least)).astype(m.dtype)

        return jax.tree.map(scaled, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)
