"""Augmentation: random crops of reflections, and mirror images."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.augment import augment


def test_augmented_images_are_shifts_and_mirror_images():
    """Each is one of the windows of its image's reflection, mirrored or not, and all of those occur."""
    crop = 1
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 5, 3), np.uint8)
    actual = np.asarray(augment(jax.random.key(0), jnp.asarray(images), crop=crop, flip=True))
    seen = set()
    for image, result in zip(images, actual, strict=True):
        padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)), mode="reflect")
        variants = {
            (i, j, mirrored): padded[i : i + 4, j : j + 5][:, :: -1 if mirrored else 1]
            for i in range(3)
            for j in range(3)
            for mirrored in (False, True)
        }
        matching = [name for name, variant in variants.items() if np.array_equal(variant, result)]
        assert matching
        seen.update(matching)
    assert len(seen) == 18
    assert np.array_equal(augment(jax.random.key(0), jnp.asarray(images), crop=0, flip=False), images)
