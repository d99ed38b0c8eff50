"""Image classification data as uint8 arrays: digits (embedded in scikit-learn), MNIST and CIFAR-10 (through TFDS)."""

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.process.errors import UsageError

_TFDS = {"mnist": "mnist", "cifar10": "cifar10"}
_SECONDS_TO_ANSWER = 20


class Split(NamedTuple):
    """`images` (n, height, width, channels) uint8 and `labels` (n,) int32."""

    images: jax.Array
    labels: jax.Array


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and test images of `num_classes` classes, and which augmentation leaves their meaning alone."""

    name: str
    train: Split
    test: Split
    num_classes: int
    crop: int  # pixels of reflection around an image before a random crop
    flip: bool  # whether a mirror image keeps its class


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Loads "digits", "mnist" or "cifar10".

    Args:
        name: which data.
        data_dir: where TFDS keeps prepared data; default `TFDS_DATA_DIR`, else TFDS's own default.

    Raises:
        UsageError: if the data is neither prepared nor downloadable, or damaged.
    """
    if name == "digits":
        return _digits()
    if data_dir is None and "TFDS_DATA_DIR" in os.environ:
        data_dir = Path(os.environ["TFDS_DATA_DIR"])
    train, test = (_read(name, split, data_dir) for split in ("train", "test"))
    return Dataset(name, train, test, 10, crop=2, flip=name == "cifar10")


def hold_out(data: Dataset, share: float = 0.1) -> Dataset:
    """The last `share` of the training images in place of the test images, which are left out altogether."""
    cut = round(len(data.train.labels) * (1 - share))
    train, held_out = Split(*(a[:cut] for a in data.train)), Split(*(a[cut:] for a in data.train))
    return dataclasses.replace(
        data, name=f"{data.name} (held-out part of the training set)", train=train, test=held_out
    )


def first_images(data: Dataset, count: int) -> Dataset:
    """The first `count` training images, or all where there are fewer; the test images as they are."""
    return dataclasses.replace(data, train=Split(*(a[:count] for a in data.train)))


def grey(data: Dataset) -> Dataset:
    """Colour images as their luminance (ITU-R BT.601), grey ones as they are."""
    if data.train.images.shape[-1] == 1:
        return data

    def luminance(split: Split) -> Split:
        weighted = np.asarray(split.images) @ np.array([[0.299], [0.587], [0.114]])
        return split._replace(images=jnp.asarray(np.rint(weighted).astype(np.uint8)))

    return dataclasses.replace(data, train=luminance(data.train), test=luminance(data.test))


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))  # writers come in blocks: mix them once, the same for all
    images, labels = jnp.asarray(images[order]), jnp.asarray(digits.target[order], jnp.int32)
    cut = 1437  # a fifth for testing
    return Dataset("digits", Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:]), 10, 1, False)


def _read(name: str, split: str, data_dir: Path | None) -> Split:
    try:
        import requests
        import tensorflow_datasets as tfds
        from absl import logging
    except ImportError as error:
        raise UsageError(
            f"--data {name} needs tensorflow-datasets ({error}): pip install 'jaxapprox[experiments]'"
        ) from error
    logging.set_verbosity(logging.ERROR)  # TFDS recommends optional packages at every start
    where = "TFDS's default directory" if data_dir is None else str(data_dir)
    try:
        builder = tfds.builder(_TFDS[name], data_dir=data_dir, file_format="array_record")
        if not builder.is_prepared():
            # Without a network TFDS would try ten times, for minutes, before it says so.
            requests.head(next(iter(builder.url_infos)), timeout=_SECONDS_TO_ANSWER)
            builder.download_and_prepare()
        source = builder.as_data_source(split=split)
        records = [source[i] for i in range(len(source))]
        images = np.stack([record["image"] for record in records])
        labels = np.asarray([record["label"] for record in records], np.int32)
    except Exception as error:  # TFDS raises whatever its file formats, parsers and download clients raise
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(
            f"--data {name}: not readable from {where} and not downloadable ({type(error).__name__}: {cause});"
            " give --data-dir or TFDS_DATA_DIR, or use --preset quick, which needs no download"
        ) from error
    return Split(jnp.asarray(images), jnp.asarray(labels))
