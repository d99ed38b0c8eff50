"""The probability with which adaptive dropout keeps a unit."""

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
