"""A few of scikit-learn's digits."""

import dataclasses

from experiments.data import load
from experiments.data.dataset import Dataset, Split, first_images


def small_digits(images: int = 40) -> Dataset:
    """The first training images, and eleven test images."""
    digits = first_images(load("digits"), images)
    return dataclasses.replace(digits, test=Split(*(a[:11] for a in digits.test)))
