"""Adaptive dropout: units are kept with a probability that follows their inner product."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox._src.checks import check_choice


class Rule(NamedTuple):
    """A rule by which units are kept.

    Attributes:
        probability: the keep probability, a function of alpha z + beta.
        rescales: whether evaluation multiplies the activation by the keep probability.
    """

    probability: Callable[[jax.Array], jax.Array]
    rescales: bool


RULES: dict[str, Rule] = {
    "standout": Rule(jax.nn.sigmoid, rescales=True),
    "released": Rule(lambda t: jnp.minimum(jax.nn.relu(t), 1), rescales=False),
}
"""The rules by name: Standout's, and that of the paper's released program."""


def keep_probability(z: jax.Array, *, alpha: float, beta: float, rule: str = "standout") -> jax.Array:
    """The probability with which units of pre-activations z are kept. No gradient flows through it.

    Args:
        z: any shape, floating.
        alpha, beta: the factor and the summand of z in the rule.
        rule: "standout": sigmoid(alpha z + beta) (Ba, Frey, NeurIPS 2013). "released": min(1, ReLU(alpha z + beta)).

    Returns:
        Probabilities of the shape of z, float32 or wider.

    Raises:
        ValueError: if `rule` is not one of those above.
    """
    check_choice("rule", rule, tuple(RULES))
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
    """The activations of the units that are kept, and zeros for the others.

    The output is m * activation(z), in which m is 1 with the keep probability of z and 0 otherwise.

    Args:
        key: a PRNG key, or None for evaluation, which draws nothing: then the output is the expectation under
            "standout", and activation(z) under "released".
        z, alpha, beta, rule: as in `keep_probability`.
        activation: a function that acts on each unit by itself.

    Returns:
        An array of the shape of z, in the dtype that `activation` gives.

    Raises:
        ValueError: as for `keep_probability`.
    """
    keep = keep_probability(z, alpha=alpha, beta=beta, rule=rule)
    y = activation(z)
    if key is not None:
        return jnp.where(jax.random.bernoulli(key, keep), y, 0)
    return y * lax.stop_gradient(keep).astype(y.dtype) if RULES[rule].rescales else y
