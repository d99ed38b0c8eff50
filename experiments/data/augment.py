"""Random crop and flip, and scaling to floats, inside `jit`."""

import jax
import jax.numpy as jnp
from jax import lax


def to_float(images: jax.Array) -> jax.Array:
    """Returns uint8 images as float32 in about [-2, 2]."""
    return (images.astype(jnp.float32) - 127.5) / 64


def augment(key: jax.Array, images: jax.Array, *, crop: int, flip: bool) -> jax.Array:
    """Shifts each image by up to `crop` pixels along both axes, and mirrors half of them if `flip`.

    What comes in at the edges is the image's reflection: a black frame would pull BatchNorm's statistics away from
    those of the frameless images that the network is tested on.

    Args:
        key: of this batch's random numbers.
        images: `(batch, height, width, channels)`, of any dtype.
        crop: less than the images' height and width.
        flip: whether a mirrored image keeps its class.

    Returns:
        Images of the same shape and dtype.
    """
    crop_key, flip_key = jax.random.split(key)
    padded = jnp.pad(images, ((0, 0), (crop, crop), (crop, crop), (0, 0)), mode="reflect")
    shifts = jax.random.randint(crop_key, (len(images), 2), 0, 2 * crop + 1)

    def cut(image, shift):
        return lax.dynamic_slice(image, (shift[0], shift[1], 0), images.shape[1:])

    images = jax.vmap(cut)(padded, shifts)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, shape=(len(images), 1, 1, 1))
        images = jnp.where(mirrored, images[:, :, ::-1], images)
    return images
