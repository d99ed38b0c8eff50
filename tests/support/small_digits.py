"""A few of scikit-learn's digits."""

import dataclasses

from experiments.data.datasets import Dataset, Split, first_images, load


def small_digits(images: int = 40) -> Dataset:
    """The first training images, and eleven test images."""
    digits = first_images(load("digits"), images)
    return dataclasses.replace(digits, test=Split(*(a[:11] for a in digits.test)))
