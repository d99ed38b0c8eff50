"""Where data sets come from: scikit-learn's digits, and TensorFlow Datasets (TFDS) for all others."""

import difflib
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset, Split
from experiments.process.errors import UsageError

_FORMAT = "array_record"  # the one that TFDS reads without TensorFlow
_SECONDS_TO_ANSWER = 20
_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}  # of others TFDS's name and configuration
_MIRRORED = ("cifar10",)  # of which a mirror image is known to keep its class


class _Unsuitable(Exception):
    """The data set can't be used, whether or not it can be read; the message says why."""


def digits(data_dir: Path | None) -> Dataset:
    """Loads scikit-learn's 8x8 digits, which come with it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))  # writers come in blocks: mix them once, the same for all
    images, labels = jnp.asarray(images[order]), jnp.asarray(digits.target[order], jnp.int32)
    cut = 1437  # a fifth for testing
    return Dataset("Digits", Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:]), 10, 1, False)


def mnist(data_dir: Path | None) -> Dataset:
    """Loads MNIST; see `from_tfds`."""
    return from_tfds("mnist", data_dir, option="mnist")


def cifar10(data_dir: Path | None) -> Dataset:
    """Loads CIFAR-10; see `from_tfds`."""
    return from_tfds("cifar10", data_dir, option="cifar10")


def from_tfds(name: str, data_dir: Path | None, *, option: str) -> Dataset:
    """Loads an image classification set of TFDS, by what TFDS itself says of its features and splits.

    Args:
        name: as TFDS writes it, "set", "set/configuration" or "set/configuration:version".
        data_dir: As for `experiments.data.load`.
        option: the value of `--data`, for messages.

    Returns:
        The splits train and test; validation, as the name then says, where there is no test.

    Raises:
        UsageError: As for `experiments.data.load`.
    """
    try:
        import tensorflow_datasets as tfds
        from absl import logging
    except ImportError as error:
        raise UsageError(
            f"--data {option} needs tensorflow-datasets ({error}): pip install 'jaxapprox[experiments]'"
        ) from error
    logging.set_verbosity(logging.ERROR)  # TFDS recommends optional packages at every start
    if data_dir is None and "TFDS_DATA_DIR" in os.environ:
        data_dir = Path(os.environ["TFDS_DATA_DIR"])
    try:
        builder = _builder(tfds, name, data_dir)
        image, label, num_classes = _image_and_label(tfds, builder.info)
        _prepare(builder)
        test = _test_split(builder.info.splits)
        train_data, test_data = (_read(builder, split, image, label, num_classes) for split in ("train", test))
    except _Unsuitable as error:
        raise UsageError(f"--data {option}: {error}") from error
    except Exception as error:  # TFDS raises whatever its file formats, parsers and download clients raise
        where = "TFDS's default directory" if data_dir is None else str(data_dir)
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        if "No module named 'tensorflow'" in cause:  # TFDS encodes the images of most sets by it
            needed = "pip install tensorflow, once: what is prepared is read without it"
            raise UsageError(f"--data {option}: TFDS needs TensorFlow to prepare it ({needed})") from error
        raise UsageError(
            f"--data {option}: not readable from {where} and not downloadable ({type(error).__name__}: {cause});"
            " give --data-dir or TFDS_DATA_DIR, or use --preset quick, which needs no download"
        ) from error
    title = _TITLES.get(name) or builder.info.full_name.removesuffix(f"/{builder.version}")
    if test != "test":
        title += f" (tested on its {test} split)"
    return Dataset(title, train_data, test_data, num_classes, crop=2, flip=name in _MIRRORED)


def _builder(tfds: Any, name: str, data_dir: Path | None) -> Any:
    """TFDS's builder of a data set, from its code or from the files that were prepared."""
    try:
        return tfds.builder(name, data_dir=data_dir)
    except AssertionError as error:  # a version that TFDS does not have
        raise _Unsuitable(" ".join(str(error).split())) from error
    except ValueError as error:  # whose message is a page long where the name is wrong
        plain, _, configuration = name.partition(":")[0].partition("/")
        sets = tfds.list_builders(with_community_datasets=False)
        if isinstance(error, tfds.core.DatasetNotFoundError):
            raise _Unsuitable(f"TFDS has no such data set; the nearest names are {_nearest(plain, sets)}") from error
        configurations = list(tfds.builder_cls(plain).builder_configs) if plain in sets else [configuration]
        if configuration and configuration not in configurations:
            nearest = _nearest(configuration, configurations) or "none"
            raise _Unsuitable(f"{plain} has no such configuration; the nearest names are {nearest}") from error
        raise


def _nearest(name: str, known: list[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, known, n=5, cutoff=0))


def _image_and_label(tfds: Any, info: Any) -> tuple[str, str, int]:
    """The names of the features that hold the image and its label, and the number of classes."""
    keys, features = info.supervised_keys, info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    found = [features[key] for key in keys or () if isinstance(key, str) and key in features]
    if len(found) != 2 or not all(map(isinstance, found, kinds)):
        raise _Unsuitable(f"it must be of images with a class label each (TFDS's supervised_keys), got {keys}")
    image, label = found
    if None in image.shape:
        raise _Unsuitable(f"its images must be of one size, got {image.shape} with None for what varies")
    if image.np_dtype != np.uint8:
        raise _Unsuitable(f"its images must be uint8, got {np.dtype(image.np_dtype)}")
    return *keys, label.num_classes


def _prepare(builder: Any) -> None:
    """Downloads and prepares a data set, unless it is there."""
    if builder.is_prepared():
        if _FORMAT not in {one.value for one in builder.info.available_file_formats()}:
            raise _Unsuitable(
                f"found in {builder.data_dir}/dataset_info.json, prepared in the file format"
                f" {builder.info.file_format.value}, and {_FORMAT} is needed: give a --data-dir without it, where it"
                f" can be prepared anew, or convert it (tfds convert_format --out_file_format={_FORMAT})"
            )
        return
    import requests

    for url in list(builder.url_infos or ())[:1]:
        # Without a network TFDS would try ten times, for minutes, before it says so.
        requests.head(url, timeout=_SECONDS_TO_ANSWER)
    builder.download_and_prepare(file_format=_FORMAT)


def _test_split(splits: Any) -> str:
    """Which split to test on."""
    test = [split for split in ("test", "validation") if split in splits]
    if "train" not in splits or not test:
        raise _Unsuitable(f"it must have a split train, and test or validation, got {', '.join(splits) or 'none'}")
    return test[0]


def _read(builder: Any, split: str, image: str, label: str, num_classes: int) -> Split:
    """A split in memory."""
    source = builder.as_data_source(split=split)
    records = [source[i] for i in range(len(source))]
    labels = np.asarray([record[label] for record in records], np.int32)
    if not ((labels >= 0) & (labels < num_classes)).all():
        found = f"{labels.min()} to {labels.max()}"
        raise _Unsuitable(f"its labels must be from 0 to {num_classes - 1}, got {found} in the split {split}")
    return Split(jnp.asarray(np.stack([record[image] for record in records])), jnp.asarray(labels))
