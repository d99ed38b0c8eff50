"""Checkpoints come back to the bit, or not at all."""

import dataclasses
import functools
import io
import zipfile
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from full_disk import largest_file

from experiments.process.errors import OutputError
from experiments.runs.checkpoint import Checkpoints
from experiments.seeds.segments import Position

MEMBERS = (("mc-0.5", 3), ("mc-0.5", 4))
POSITION = Position(MEMBERS, epoch=2, step=7, train_seconds=0.1, recalibrate_seconds=1 / 3, epoch_seconds=1e-9)


@functools.cache
def tree(seed: int = 0) -> dict:
    """Every kind of array that training carries: empty ones, a scalar, and a NaN with bits of its own, too."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 16, (2, 5), np.uint16)
    return {
        "params": (rng.standard_normal((2, 3, 4), np.float32), bits.view(ml_dtypes.bfloat16)),
        "keys": rng.integers(0, 1 << 32, (2, 2), np.uint32),
        "tables": [rng.integers(-9, 9, (2, 6)).astype(np.int32), np.zeros((2, 0), np.int8), rng.random((2, 3)) < 0.5],
        "loss": np.array([0x7FC00123], np.uint32).view(np.float32)[0],
    }


def template(arrays) -> dict:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)


def same(first, second) -> bool:
    def identical(a, b):
        return (a.shape, a.dtype, np.asarray(a).tobytes()) == (b.shape, b.dtype, np.asarray(b).tobytes())

    return jax.tree.all(jax.tree.map(identical, first, second))


def restored(path: Path, members=MEMBERS, like=None) -> tuple[tuple[Position, dict] | None, list[str]]:
    """What comes back, and the warnings."""
    lines: list[str] = []
    return Checkpoints(path).restore(members, template(tree()) if like is None else like, lines.append), lines


def test_to_the_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a" / "checkpoints")
    assert checkpoints.restore(MEMBERS, template(tree()), pytest.fail) is None
    checkpoints.save(POSITION, tree())
    position, arrays = checkpoints.restore(MEMBERS, template(tree()), pytest.fail)
    assert position == POSITION
    assert same(arrays, tree()) and not same(arrays, tree(1))


def test_the_latest_of_a_chunk(tmp_path):
    """Of the three that are kept."""
    others = (("exact", 0),)
    for epoch in range(5):
        Checkpoints(tmp_path).save(dataclasses.replace(POSITION, epoch=epoch), tree(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.npz", "4.npz", "5.npz"]
    Checkpoints(tmp_path).save(Position(others), tree(9))
    (position, arrays), lines = restored(tmp_path)
    assert (position.epoch, lines) == (4, []) and same(arrays, tree(4))
    (position, arrays), lines = restored(tmp_path, others)
    assert (position, lines) == (Position(others), []) and same(arrays, tree(9))
    assert restored(tmp_path, (("exact", 1),)) == (None, [])


def assert_named(path: Path, number: int) -> None:
    """Checkpoint `number` is said to be damaged, and the first one used."""
    (position, arrays), (line,) = restored(path)
    assert line.startswith(f"warning: checkpoint {number} in {path} is damaged, the one before it is used (")
    assert position == POSITION and same(arrays, tree())


@pytest.fixture
def two(tmp_path):
    """Two checkpoints: the directory, and the second one's file."""
    Checkpoints(tmp_path).save(POSITION, tree())
    Checkpoints(tmp_path).save(dataclasses.replace(POSITION, epoch=9), tree(1))
    return tmp_path, tmp_path / "2.npz"


def test_a_byte_changed_anywhere(two):
    """Named, but where the byte says nothing of the arrays or the position (a time stamp): then they are as saved."""
    path, file = two
    content = file.read_bytes()
    named = 0
    for i in range(len(content)):
        file.write_bytes(content[:i] + bytes([content[i] ^ (1 << i % 8)]) + content[i + 1 :])
        (position, arrays), lines = restored(path)
        named += len(lines)
        saved = (POSITION, tree()) if lines else (dataclasses.replace(POSITION, epoch=9), tree(1))
        assert position == saved[0] and same(arrays, saved[1])
        assert not lines or "checkpoint 2" in lines[0]
    data = sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(content)).infolist())
    assert named >= data


def test_damage_is_named_once(two):
    """However often a run looks for checkpoints: it does for each chunk."""
    path, file = two
    file.write_bytes(b"")
    checkpoints, lines = Checkpoints(path), []
    for _ in range(3):
        checkpoints.restore(POSITION.members, tree(), lines.append)
    assert len(lines) == 1


def test_cut_short(two):
    path, file = two
    content = file.read_bytes()
    for size in range(0, len(content), 29):
        file.write_bytes(content[:size])
        assert_named(path, 2)


def test_an_array_missing_or_another(two):
    path, file = two
    with np.load(file) as archive:
        arrays = dict(archive)
    for name, array in arrays.items():
        np.savez(file, **{other: value for other, value in arrays.items() if other != name})
        assert_named(path, 2)
        np.savez(file, **{**arrays, name: array[..., None]})
        if name != "position":
            assert_named(path, 2)
    np.savez(file, **{**arrays, "position": np.frombuffer(b'{"epoch": 1}', np.uint8)})
    assert_named(path, 2)
    file.unlink()
    file.mkdir()
    assert_named(path, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.float32])
def test_another_template(two, dtype):
    """Of the same size in bytes, too."""
    like = template(tree())
    like["params"] = (like["params"][0], jax.ShapeDtypeStruct((2, 5), dtype))
    found, lines = restored(two[0], like=like)
    assert found is None and len(lines) == 2 and "bfloat16" in lines[0]


def test_a_full_disk(two):
    """The line of the error; those before stay, and what was written by half does not count."""
    path, file = two
    with largest_file(file.stat().st_size // 2), pytest.raises(OutputError) as info:
        Checkpoints(path).save(POSITION, tree(2))
    assert str(info.value) == f"checkpoint 3 in {path} could not be written (File too large)"
    assert same(restored(path)[0][1], tree(1))
    Checkpoints(path).save(POSITION, tree(2))
    assert sorted(one.name for one in path.iterdir()) == ["1.npz", "2.npz", "3.npz"]
    assert same(restored(path)[0][1], tree(2))


def test_directories_of_an_earlier_version(tmp_path):
    """Named once, as long as they are all there is."""
    (tmp_path / "21" / "state").mkdir(parents=True)
    found, lines = restored(tmp_path)
    assert found is None and len(lines) == 1
    assert lines[0].startswith(f"warning: the checkpoints in {tmp_path} are of an earlier version and not used")
    Checkpoints(tmp_path).save(POSITION, tree())
    (position, _), lines = restored(tmp_path)
    assert position == POSITION and lines == []
