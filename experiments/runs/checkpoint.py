"""Checkpoints of a run as `.npz` files: written whole or not at all, the last few kept, damage noticed."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.process.files import write_whole
from experiments.seeds.segments import Position

_KEEP = 3


class Checkpoints:
    """The checkpoints in a directory, `<number>.npz` each. Every array comes back to the bit.

    A file holds the leaves of a tree in order, and a position with the leaves' types as JSON. As in every zip file,
    each of these has a checksum.
    """

    def __init__(self, path: Path):
        """Makes the directory at `path` unless it is there."""
        self._path = path
        self._path.mkdir(parents=True, exist_ok=True)
        self._warnings: set[str] = set()

    def save(self, position: Position, tree: Any) -> None:
        """Writes a checkpoint and removes the oldest beyond the last three.

        Args:
            position: how far its chunk has been trained.
            tree: host arrays.

        Raises:
            OutputError: if it can't be written; those before it stay.
        """
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        facts = {**dataclasses.asdict(position), "dtypes": [str(leaf.dtype) for leaf in leaves]}
        content = io.BytesIO()
        np.savez(content, *leaves, position=np.frombuffer(json.dumps(facts).encode(), np.uint8))
        number = 1 + max(self._numbers(), default=0)
        write_whole(self._file(number), content.getvalue(), f"checkpoint {number} in {self._path}")
        for old in self._numbers()[:-_KEEP]:
            self._file(old).unlink()

    def restore(
        self, members: tuple[tuple[str, int], ...], template: Any, warn: Callable[[str], None]
    ) -> tuple[Position, Any] | None:
        """The latest sound checkpoint of a chunk.

        Args:
            members: of the chunk, as in `Position`.
            template: a tree with the shapes and dtypes of what was saved.
            warn: told once of every checkpoint that is damaged, and of those that an earlier version wrote.

        Returns:
            The position and the tree of host arrays; None where there is no checkpoint of the chunk.
        """

        def warn_once(warning: str) -> None:
            if warning not in self._warnings:
                warn(warning)
            self._warnings.add(warning)

        numbers = self._numbers()
        if not numbers and any(path.is_dir() for path in self._path.iterdir()):
            earlier = f"warning: the checkpoints in {self._path} are of an earlier version and not used"
            warn_once(f"{earlier}: an unfinished run begins again, and its epochs in metrics.jsonl stay as they are")
        for number in reversed(numbers):
            try:
                with zipfile.ZipFile(self._file(number)) as archive:
                    facts = json.loads(_read(archive, "position").tobytes())
                    dtypes = facts.pop("dtypes")
                    position = Position(**{**facts, "members": tuple((name, seed) for name, seed in facts["members"])})
                    if position.members == members:
                        return position, _read_tree(archive, dtypes, template)
            except Exception as error:  # a damaged file makes zipfile and NumPy raise whatever they do
                cause = " ".join(str(error).split())[:200] or type(error).__name__
                warn_once(
                    f"warning: checkpoint {number} in {self._path} is damaged, the one before it is used ({cause})"
                )
        return None

    def _file(self, number: int) -> Path:
        return self._path / f"{number}.npz"

    def _numbers(self) -> list[int]:
        """The numbers of the checkpoints on disk, sound or not, in order."""
        return sorted(int(path.stem) for path in self._path.glob("*.npz") if path.stem.isdigit())


def _read_tree(archive: zipfile.ZipFile, dtypes: list[str], template: Any) -> Any:
    """The saved leaves as a tree like `template`; raises ValueError where they are others."""
    leaves, structure = jax.tree.flatten(template)
    arrays = []
    for i, (leaf, dtype) in enumerate(zip(leaves, dtypes, strict=True)):
        array = _read(archive, f"arr_{i}")
        if (array.shape, dtype, array.dtype.itemsize) != (leaf.shape, str(leaf.dtype), leaf.dtype.itemsize):
            raise ValueError(f"array {i} must be {leaf.dtype} of shape {leaf.shape}, got {dtype} of {array.shape}")
        arrays.append(array.view(leaf.dtype))  # NumPy's files know bfloat16 as two bytes
    return jax.tree.unflatten(structure, arrays)


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array; read in one go, so that its checksum is compared."""
    return np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False)
