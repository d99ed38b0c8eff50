"""What an image classification data set is, as uint8 arrays, and parts and versions of one."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Split(NamedTuple):
    """Images and their labels.

    Attributes:
        images: `(n, height, width, channels)` uint8.
        labels: `(n,)` int32, from 0 to before the data set's `num_classes`.
    """

    images: jax.Array
    labels: jax.Array


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and test images, and which augmentation leaves their classes as they are.

    Attributes:
        name: for titles, such as "CIFAR-10".
        train: what networks are trained on.
        test: what they are tested on.
        num_classes: how many classes the labels tell apart.
        crop: pixels of reflection around an image before a random crop.
        flip: whether a mirrored image keeps its class.
    """

    name: str
    train: Split
    test: Split
    num_classes: int
    crop: int
    flip: bool


def hold_out(data: Dataset, share: float = 0.1) -> Dataset:
    """Puts the last `share` of the training images in place of the test images, which are left out altogether."""
    cut = round(len(data.train.labels) * (1 - share))
    train, held_out = Split(*(a[:cut] for a in data.train)), Split(*(a[cut:] for a in data.train))
    return dataclasses.replace(
        data, name=f"{data.name} (held-out part of the training set)", train=train, test=held_out
    )


def first_images(data: Dataset, count: int) -> Dataset:
    """Keeps the first `count` training images, or all where there are fewer, and every test image."""
    return dataclasses.replace(data, train=Split(*(a[:count] for a in data.train)))


def grey(data: Dataset) -> Dataset:
    """Turns colour images into their luminance (ITU-R BT.601), without any alpha; grey images stay as they are."""
    if data.train.images.shape[-1] == 1:
        return data

    def luminance(split: Split) -> Split:
        weighted = np.asarray(split.images)[..., :3] @ np.array([[0.299], [0.587], [0.114]])
        return split._replace(images=jnp.asarray(np.rint(weighted).astype(np.uint8)))

    return dataclasses.replace(data, train=luminance(data.train), test=luminance(data.test))
