"""Adaptive dropout: units are kept with a probability that follows their inner product."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Rule(NamedTuple):
    """A keep probability by alpha z + beta, and whether evaluation multiplies by it."""

    probability: Callable[[jax.Array], jax.Array]
    rescales: bool


RULES: dict[str, Rule] = {
    "standout": Rule(jax.nn.sigmoid, rescales=True),
    "released": Rule(lambda t: jnp.minimum(jax.nn.relu(t), 1), rescales=False),
}


def keep_probability(z: jax.Array, *, alpha: float, beta: float, rule: str = "standout") -> jax.Array:
    """Of units with the pre-activations z, in which no gradient flows through it.

    Args:
        z: any shape, floating.
        alpha, beta: numbers.
        rule: "standout": sigmoid(alpha z + beta) (Ba, Frey, NeurIPS 2013). "released": min(1, ReLU(alpha z + beta)).

    Returns:
        Shaped as z, float32 or wider.

    Raises:
        ValueError: if `rule` is not one of these.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    z = lax.stop_gradient(z).astype(jnp.promote_types(z.dtype, jnp.float32))
    return RULES[rule].probability(alpha * z + beta)


def adaptive_dropout(
    key: jax.Array | None,
    z: jax.Array,
    activation: Callable[[jax.Array], jax.Array],
    *,
    alpha: float,
    beta: float,
    rule: str = "standout",
) -> jax.Array:
    """m * activation(z) with m = 1 with the keep probability of z, else 0; without a key, what evaluation has for it.

    Args:
        key: a PRNG key; None for evaluation, the expectation under "standout" and activation(z) under "released".
        z, alpha, beta, rule: as in `keep_probability`.
        activation: of each unit by itself.

    Returns:
        Shaped as z, in the dtype that `activation` gives. Raises: as `keep_probability`.
    """
    keep = keep_probability(z, alpha=alpha, beta=beta, rule=rule)
    y = activation(z)
    if key is not None:
        return jnp.where(jax.random.bernoulli(key, keep), y, 0)
    return y * lax.stop_gradient(keep).astype(y.dtype) if RULES[rule].rescales else y
