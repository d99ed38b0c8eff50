"""Dropout that keeps a unit with a probability that follows what it would answer."""

from collections.abc import Callable

import jax
from flax import nnx

from jaxapprox._src.adaptive_dropout import adaptive_dropout
from jaxapprox._src.nnx.random_module import Keys, RandomModule


class AdaptiveDropout(RandomModule):
    """Adaptive dropout (Standout) of pre-activations, as by `jaxapprox.linen.AdaptiveDropout`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from jaxapprox.nnx import AdaptiveDropout
    >>> layer = AdaptiveDropout(beta=-4.0, rngs=nnx.Rngs(sample=0))  # keeps with probability sigmoid(z - 4)
    >>> sorted(set(layer(jnp.full((1, 50), 4.0))[0].tolist()))
    [0.0, 4.0]
    >>> layer.eval()
    >>> set(layer(jnp.full((1, 50), 4.0))[0].tolist())
    {2.0}

    Args:
        alpha, beta, rule, activation: as in `jaxapprox.linen.AdaptiveDropout`.
        deterministic, rng_collection, rngs: as in `jaxapprox.nnx.MCConv`; no parameters are drawn.

    Raises:
        ValueError: if `rngs` lacks the stream.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.0,
        rule: str = "standout",
        activation: Callable[[jax.Array], jax.Array] = nnx.relu,
        *,
        deterministic: bool = False,
        rng_collection: str = "sample",
        rngs: nnx.Rngs,
    ):
        super().__init__(deterministic, rng_collection, rngs)
        self.alpha, self.beta, self.rule, self.activation = alpha, beta, rule, activation

    def __call__(self, z: jax.Array, *, deterministic: bool | None = None, rngs: Keys | None = None) -> jax.Array:
        """z `(..., units)` -> the same shape and dtype.

        Args:
            deterministic, rngs: instead of the layer's own.

        Raises:
            ValueError: if `rule` is unknown.
        """
        key = self._key(deterministic, rngs)
        return adaptive_dropout(key, z, self.activation, alpha=self.alpha, beta=self.beta, rule=self.rule)
