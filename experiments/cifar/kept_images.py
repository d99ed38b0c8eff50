"""Training on a share of each batch: images drawn by their last gradient norms, weighed so that the mean is right.

After Katharopoulos and Fleuret (ICML 2018), who score a batch by its forward pass; here the norms are those of the last
time that an image was trained on, so that an image which is not drawn costs nothing.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxapprox import systematic

_LARGEST = 2**0.5  # of the norms: all of the probability on a class that is wrong
_UNIFORM = 0.3  # of the scores: what was learned since an image was last seen is unknown


def first_norms(images: int) -> jax.Array:
    """`(images,)`: an image that was not seen yet counts as one that the network gets all wrong."""
    return jnp.full(images, _LARGEST)


def gradient_norms(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """`(batch,)`, the norm of each example's cross-entropy gradient at the logits, in [0, sqrt 2]."""
    gradient = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])
    return lax.stop_gradient(jnp.linalg.norm(gradient, axis=-1))


def draw(key: jax.Array, norms: jax.Array, share: float) -> tuple[jax.Array, jax.Array]:
    """Places of the images kept of a batch, and their weights `(kept,)`, whose mean estimates that over the batch.

    Args:
        key: of the draw.
        norms: `(batch,)`, of the batch's images.
        share: to keep, in (0, 1].
    """
    batch = norms.shape[0]
    kept = max(1, round(share * batch))
    scores = (1 - _UNIFORM) * norms + _UNIFORM * jnp.mean(norms)
    sample = systematic(key, scores, kept)
    return sample.indices, sample.weights * kept / batch
