"""Data sets by name, and what TensorFlow Datasets prepares read by its own metadata."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tfds_sets import prepare

from experiments.data import DATASETS, check_data, load
from experiments.data.dataset import Dataset, Split, first_images, grey, hold_out
from experiments.process.errors import UsageError

ROOT = Path(__file__).parents[3]
FEATURES = {"image": tfds.features.Image(shape=(9, 7, 3)), "label": tfds.features.ClassLabel(num_classes=11)}
KEYS = ("image", "label")


def examples(count: int, shape: tuple[int, ...] = (9, 7, 3), classes: int = 11) -> list[dict]:
    images = np.random.default_rng(count).integers(0, 256, (count, *shape)).astype(np.uint8)
    return [{"image": image, "label": i % classes} for i, image in enumerate(images)]


def assert_split(split: Split, expected: list[dict], image: str = "image", label: str = "label") -> None:
    assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
    np.testing.assert_array_equal(split.images, np.stack([example[image] for example in expected]))
    np.testing.assert_array_equal(split.labels, [example[label] for example in expected])


def refusal(name: str, data_dir: Path) -> str:
    """The line, of which there is one."""
    with pytest.raises(UsageError) as info:
        load(name, data_dir)
    message = str(info.value)
    assert "--data" in message and "\n" not in message
    return message


@pytest.mark.parametrize("configuration", [None, "small"])
def test_any_set_of_tfds(tmp_path, monkeypatch, configuration):
    """Shape, classes and splits are those of its metadata; found by the argument, or by TFDS_DATA_DIR."""
    train, test = examples(23), examples(12)
    name = "tiny" if configuration is None else f"tiny/{configuration}"
    prepare(tmp_path, "tiny", FEATURES, KEYS, {"train": train, "test": test, "other": examples(3)}, configuration)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for data in (load(f"tfds:{name}", tmp_path), load(f"tfds:{name}"), load(f"tfds:{name}:1.0.0")):
        assert (data.name, data.num_classes, data.flip) == (name, 11, False)
        assert_split(data.train, train)
        assert_split(data.test, test)


def test_two_images_and_several_labels(tmp_path):
    """As small NORB has: `supervised_keys` say which."""
    features = {
        "image": tfds.features.Image(shape=(8, 8, 1)),
        "image2": tfds.features.Image(shape=(8, 8, 1)),
        "instance": tfds.features.ClassLabel(num_classes=10),
        "label_category": tfds.features.ClassLabel(num_classes=5),
    }
    images = np.random.default_rng(0).integers(0, 256, (2, 10, 8, 8, 1)).astype(np.uint8)
    stereo = [
        {"image": left, "image2": right, "instance": i, "label_category": i % 5}
        for i, (left, right) in enumerate(zip(*images, strict=True))
    ]
    prepare(tmp_path, "stereo", features, ("image2", "label_category"), {"train": stereo, "test": stereo[:4]})
    data = load("tfds:stereo", tmp_path)
    assert data.num_classes == 5
    assert_split(data.train, stereo, "image2", "label_category")
    assert_split(data.test, stereo[:4], "image2", "label_category")


def test_validation_in_place_of_test(tmp_path):
    """The name says so."""
    train, validation = examples(11), examples(5)
    prepare(tmp_path, "tiny", FEATURES, KEYS, {"train": train, "validation": validation})
    data = load("tfds:tiny", tmp_path)
    assert data.name == "tiny (tested on its validation split)"
    assert_split(data.train, train)
    assert_split(data.test, validation)


def test_unsuitable_sets(tmp_path):
    """Each is refused for what it is."""
    text, label = tfds.features.Text(), FEATURES["label"]
    varying, deep = tfds.features.Image(shape=(None, None, 3)), tfds.features.Image(shape=(9, 7, 1), dtype=np.uint16)
    rows = {"train": examples(3), "test": examples(2)}
    words = {split: [{"image": "word", "label": 0}] for split in rows}
    depths = {split: [{"image": np.zeros((9, 7, 1), np.uint16), "label": 0}] for split in rows}
    unlabelled = {**rows, "test": [{**example, "label": -1} for example in examples(2)]}
    for name, features, keys, splits, message in (
        (
            "words",
            {"image": text, "label": label},
            KEYS,
            words,
            r"images with a class label each .* got \('image', 'label'\)",
        ),
        ("keyless", FEATURES, None, rows, "a class label each .* got None"),
        ("varying", {"image": varying, "label": label}, KEYS, rows, r"one size, got \(None, None, 3\)"),
        ("deep", {"image": deep, "label": label}, KEYS, depths, "must be uint8, got uint16"),
        (
            "untested",
            FEATURES,
            KEYS,
            {"train": rows["train"], "extra": rows["test"]},
            "test or validation, got train, extra",
        ),
        ("untrained", FEATURES, KEYS, {"test": rows["test"]}, "a split train.* got test"),
        ("unlabelled", FEATURES, KEYS, unlabelled, "labels must be from 0 to 10, got -1 to -1 in the split test"),
    ):
        prepare(tmp_path, name, features, keys, splits)
        with pytest.raises(UsageError, match=f"^--data tfds:{name}: .*{message}"):
            load(f"tfds:{name}", tmp_path)


def test_unknown_names(tmp_path):
    """What there is, or what is nearest, is listed."""
    for name in ("magic", "tfds:", "tfds:a b"):
        with pytest.raises(UsageError, match=r"^--data must be one of digits, mnist, cifar10 or tfds:NAME .*got"):
            check_data(name)
        assert refusal(name, tmp_path).endswith(f"got {name}")
    assert "no such data set" in (line := refusal("tfds:fashon_mnist", tmp_path)) and "fashion_mnist" in line
    assert "no such configuration" in (line := refusal("tfds:emnist/lettres", tmp_path)) and "letters" in line
    for name in (*DATASETS, "tfds:emnist/letters", "tfds:mnist:3.0.1"):
        check_data(name)


def test_another_file_format(tmp_path):
    """Is said to be that; where it was found, too."""
    path = prepare(tmp_path, "tiny", FEATURES, KEYS, {"train": examples(3), "test": examples(2)})
    facts = json.loads((path / "dataset_info.json").read_text())
    (path / "dataset_info.json").write_text(json.dumps({**facts, "fileFormat": "tfrecord"}))
    for file in path.glob("*.array_record-*"):
        file.rename(path / file.name.replace("array_record", "tfrecord"))
    message = refusal("tfds:tiny", tmp_path)
    assert f"found in {path}/dataset_info.json, prepared in the file format tfrecord" in message
    assert "array_record is needed" in message and "not downloadable" not in message


def test_damaged_data(tmp_path):
    """A record and a description that can't be read, and files that are gone."""

    def cut_short(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:100])

    for name, pattern, damage in (
        ("records", "*-train.*", cut_short),
        ("description", "dataset_info.json", cut_short),
        ("gone", "*-test.*", Path.unlink),
    ):
        path = prepare(tmp_path, name, FEATURES, KEYS, {"train": examples(3), "test": examples(2)})
        (file,) = path.glob(pattern)
        damage(file)
        assert f"--data tfds:{name}: not readable from {tmp_path}" in refusal(f"tfds:{name}", tmp_path)


def test_a_set_that_tensorflow_must_prepare(tmp_path):
    """As TFDS fails on arrays, of which it makes files by TensorFlow: what to install is said."""

    class ArraysAlone(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict(FEATURES)
            return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=KEYS)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            raise ModuleNotFoundError("No module named 'tensorflow'")
            yield

    assert "TFDS needs TensorFlow to prepare it (pip install tensorflow" in refusal("tfds:arrays_alone", tmp_path)


def test_a_set_of_ones_own(tmp_path):
    """One line registers it, and its name is taken."""
    own = Dataset("Own", *[Split(np.zeros((4, 8, 8, 1), np.uint8), np.zeros(4, np.int32))] * 2, 3, 1, False)
    DATASETS.register("own", lambda data_dir: own)
    try:
        check_data("own")
        assert load("own") is own
        assert "digits, mnist, cifar10, own" in refusal("magic", tmp_path)
        with pytest.raises(ValueError, match="registered"):
            DATASETS.register("own", "somewhere:else")
    finally:
        del DATASETS._entries["own"]


def test_names_import_nothing():
    """So that `--help` is quick."""
    heavy = ("jax", "flax", "matplotlib", "sklearn", "tensorflow_datasets")
    program = f"import sys, experiments.data; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_parts_of_a_set():
    """The last tenth held out, the first few, and colours (with alpha or not) as their luminance."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (20, 5, 4, 4)).astype(np.uint8), np.arange(20, dtype=np.int32)
    data = Dataset("Twenty", Split(images, labels), Split(images[:3], labels[:3]), 20, 1, True)
    held = hold_out(data)
    assert (
        "held-out" in held.name
        and held.train.labels.tolist() == list(range(18))
        and held.test.labels.tolist() == [18, 19]
    )
    assert (
        first_images(data, 7).train.labels.tolist() == list(range(7)) and len(first_images(data, 70).train.labels) == 20
    )
    luminance = np.rint(0.299 * images[..., 0] + 0.587 * images[..., 1] + 0.114 * images[..., 2])
    assert np.abs(np.asarray(grey(data).train.images[..., 0]).astype(float) - luminance).max() <= 1
    assert grey(grey(data)).train.images.shape == (20, 5, 4, 1)
