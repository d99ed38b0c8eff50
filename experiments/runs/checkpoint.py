"""Checkpoints of a run, by orbax: written whole or not at all, the last few kept, damage noticed."""

import dataclasses
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import args as ocp_args

from experiments.process.errors import OutputError
from experiments.seeds.segments import Position

_KEEP = 3


class Checkpoints:
    """Those in a directory, of one process. Every array comes back to the bit."""

    def __init__(self, path: Path):
        logging.set_verbosity(logging.FATAL)  # orbax logs with a traceback what it also raises
        self._path = path.resolve()
        self._path.mkdir(parents=True, exist_ok=True)
        # The other processes of a run write nothing, and are not waited for.
        alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(),
            active_processes={jax.process_index()},
            barrier_sync_key_prefix="checkpoints",
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False, create=False, multiprocessing_options=alone
        )
        self._manager = ocp.CheckpointManager(self._path, options=options)

    def save(self, position: Position, tree: Any) -> None:
        """Writes host arrays and where they are from.

        Raises:
            OutputError: if it can't be written; the ones before it stay.
        """
        # As one array: of several, those still being read when one proves damaged would print tracebacks of their own.
        data = np.frombuffer(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)), np.uint8)
        facts = {"position": dataclasses.asdict(position), "checksum": zlib.crc32(data.data)}
        number = 1 + max(self._numbers(), default=0)
        items = ocp_args.Composite(state=ocp_args.StandardSave({"bytes": data}), position=ocp_args.JsonSave(facts))
        try:
            self._manager.save(number, args=items, force=True)
        except Exception as error:  # whatever file system, tensorstore and orbax raise
            cause = " ".join(str(error).split())[:200]
            raise OutputError(f"checkpoint {number} in {self._path} could not be written ({cause})") from error

    def restore(
        self, members: tuple[tuple[str, int], ...], template: Any, warn: Callable[[str], None]
    ) -> tuple[Position, Any] | None:
        """The latest sound checkpoint of a chunk, or None.

        Args:
            members: as `Position.members`.
            template: a tree of shapes, of what was saved.
            warn: told of every checkpoint that is damaged.
        """
        leaves = jax.tree.leaves(template)
        sizes = [math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves]
        state = ocp_args.StandardRestore({"bytes": np.empty(sum(sizes), np.uint8)})
        for number in sorted(self._numbers(), reverse=True):
            try:
                facts = self._restore(number, position=ocp_args.JsonRestore())["position"]
                position = _position(facts["position"])
                if position.members != members:
                    continue
                data = np.asarray(self._restore(number, state=state)["state"]["bytes"])
                if zlib.crc32(data.data) != facts["checksum"]:
                    raise ValueError("its checksum is another")
            except Exception as error:  # a damaged file makes orbax and tensorstore raise whatever they do
                cause = " ".join(str(error).split())[:200]
                warn(f"warning: checkpoint {number} in {self._path} is damaged, the one before it is used ({cause})")
                continue
            parts = np.split(data, np.cumsum(sizes)[:-1])
            arrays = [part.view(a.dtype).reshape(a.shape) for part, a in zip(parts, leaves, strict=True)]
            return position, jax.tree.unflatten(jax.tree.structure(template), arrays)
        return None

    def _restore(self, number: int, **items: Any) -> Any:
        return self._manager.restore(number, args=ocp_args.Composite(**items))

    def _numbers(self) -> list[int]:
        """On disk, sound or not."""
        return [int(path.name) for path in self._path.iterdir() if path.name.isdigit()]


def _position(facts: dict[str, Any]) -> Position:
    return Position(**{**facts, "members": tuple((name, seed) for name, seed in facts["members"])})
