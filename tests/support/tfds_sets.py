"""Small data sets as TensorFlow Datasets prepares them, without a download and without TensorFlow."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def prepare(
    data_dir: Path,
    name: str,
    features: Mapping[str, Any],
    keys: tuple[str, str] | None,
    splits: Mapping[str, list[dict[str, Any]]],
    configuration: str | None = None,
) -> Path:
    """Prepares a data set of TFDS's `features`.

    Args:
        data_dir: where.
        name: that TFDS has no code for, so that it is read by what the files say of themselves.
        features: of TFDS.
        keys: TFDS's supervised_keys.
        splits: the examples of each; images as arrays.
        configuration: of TFDS, if any.

    Returns:
        The directory of its files.
    """

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=configuration)] if configuration else []

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=keys,
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(examples) for split, examples in splits.items()}

        def _generate_examples(self, examples):
            for i, example in enumerate(examples):
                yield (
                    i,
                    {key: _png(value) if isinstance(value, np.ndarray) else value for key, value in example.items()},
                )

    Small.name = name
    builder = Small(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def _png(image: np.ndarray) -> io.BytesIO:
    """TFDS would need TensorFlow to encode an array."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    file.seek(0)
    return file
