"""Dropout that keeps a unit with a probability that follows what it would answer."""

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxapprox._src.adaptive_dropout import adaptive_dropout
from jaxapprox._src.linen.rng import sample_key


class AdaptiveDropout(nn.Module):
    """Adaptive dropout (Standout): units keep their activation with a probability that follows their inner product.

    Takes the pre-activations z = W x + b of a layer, whose weights it so shares: `AdaptiveDropout()(nn.Dense(n)(x))`.
    In training the output is m * activation(z), m = 1 with probability keep(z), else 0. There is no gradient through
    the keep probability. Each call with `deterministic=False` needs a key from the RNG stream "sample".

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.linen import AdaptiveDropout
    >>> layer, z = AdaptiveDropout(beta=-4.0), jnp.full((1, 50), 4.0)  # keeps with probability sigmoid(z - 4)
    >>> y = layer.apply({}, z, deterministic=False, rngs={"sample": jax.random.key(0)})
    >>> sorted(set(y[0].tolist()))
    [0.0, 4.0]
    >>> set(layer.apply({}, z, deterministic=True)[0].tolist())
    {2.0}

    Attributes:
        alpha, beta: the factor and the summand of z in the keep probability.
        rule: "standout" (Ba, Frey 2013) keeps with probability sigmoid(alpha z + beta), and its output in evaluation
            is the expectation, keep(z) * activation(z). "released" is what the program released with the paper does:
            min(1, ReLU(alpha z + beta)), there with alpha = 0.5 and beta = 1, and activation(z) in evaluation, not
            rescaled.
        activation: a function that acts on each unit by itself.
        deterministic: True for evaluation; may be given to the call instead.
        rng_collection: the RNG stream that keys are drawn from.

    References:
        Ba, Frey, Adaptive Dropout for Training Deep Neural Networks, NeurIPS 2013.
    """

    alpha: float = 1.0
    beta: float = 0.0
    rule: str = "standout"
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    deterministic: bool | None = None
    rng_collection: str = "sample"

    @nn.compact
    def __call__(self, z: jax.Array, deterministic: bool | None = None) -> jax.Array:
        """z `(..., units)` -> the same shape and dtype.

        Raises:
            ValueError: if `rule` is not one of those above.
            flax.errors.InvalidRngError: if a key is needed and the stream "sample" is missing.
        """
        deterministic = nn.merge_param("deterministic", self.deterministic, deterministic)
        key = None if deterministic else sample_key(self, self.rng_collection)
        return adaptive_dropout(key, z, self.activation, alpha=self.alpha, beta=self.beta, rule=self.rule)
