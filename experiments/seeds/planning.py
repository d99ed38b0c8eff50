"""Which seed axis a family of settings is trained along, and how many seeds at once: as asked, or by measurement."""

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh

from experiments.data.dataset import Dataset
from experiments.process.distributed import largest
from experiments.process.errors import UsageError
from experiments.seeds.axis import SeedAxis, make_mesh
from experiments.seeds.compiled import LearnerOf, Training, compile_training
from experiments.seeds.segments import chunks, numbered_seeds, segments
from experiments.seeds.settings import Family
from experiments.training.options import RunOptions

_TRIAL_SECONDS = 20.0
_SHARE_OF_MEMORY = 0.9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was chosen, which as options makes the same choice again, and why."""

    kind: Literal["map", "vmap", "shard"]
    members: int
    mesh: tuple[int, int] | None
    why: str


def make_plan(family: Family, learner_of: LearnerOf, data: Dataset) -> tuple[Plan, Training]:
    """The plan by `--seed-axis`, `--seeds-at-once` and `--mesh`, and the program.

    Raises:
        UsageError: if the mesh does not fit.
    """
    config, total = family.config, _total(family)
    several_devices = len(jax.devices()) > 1

    def turn() -> Training:
        return compile_training(family, learner_of, data, SeedAxis("map", 1))

    def at_once() -> Training:
        most = min(config.seeds_at_once or total, total)
        return _fitting(lambda members: compile_training(family, learner_of, data, SeedAxis("vmap", members)), most, 1)

    def split() -> Training:
        mesh = check_mesh(family)
        over = mesh.shape["seed"]
        # On a CPU more than one seed on a device does not pay.
        most = config.seeds_at_once or (over if jax.default_backend() == "cpu" else total)

        def over_mesh(members: int) -> Training:
            return compile_training(family, learner_of, data, SeedAxis("shard", members, mesh))

        return _fitting(over_mesh, most, over)

    if must_shard(config):
        return _plan(split(), "as asked" if config.seed_axis == "shard" else "for several processes or --mesh")
    if config.seed_axis != "auto":
        return _plan({"map": turn, "vmap": at_once}[config.seed_axis](), "as asked")
    if total == 1 and not several_devices:
        return _plan(turn(), "there is one seed")
    candidates: list[Callable[[], Training]] = [turn, *([at_once] if total > 1 else [])]
    if several_devices and _divides(family):
        candidates.append(split)
    return _fastest([candidate() for candidate in candidates], family, data)


def must_shard(config: RunOptions) -> bool:
    """Whether there is no choice of the seed axis."""
    return config.seed_axis == "shard" or jax.process_count() > 1 or config.mesh is not None


def check_mesh(family: Family) -> Mesh:
    """The mesh over which the family's seeds are split.

    Raises:
        UsageError: if it does not divide the work.
    """
    config = family.config
    mesh = make_mesh(config.mesh, _total(family), config.batch_size)
    over = mesh.shape["seed"]
    if config.seeds_at_once % over:
        raise UsageError(f"--seeds-at-once must be a multiple of the mesh's {over}, got {config.seeds_at_once}")
    return mesh


def _total(family: Family) -> int:
    return len(family.settings) * family.config.seeds


def _divides(family: Family) -> bool:
    try:
        make_mesh(None, _total(family), family.config.batch_size)
    except UsageError:
        return False
    return True


def _plan(training: Training, why: str) -> tuple[Plan, Training]:
    axis = training.axis
    mesh = None if axis.mesh is None else (axis.mesh.shape["seed"], axis.mesh.shape["data"])
    return Plan(axis.kind, axis.members, mesh, why), training


def _fitting(make: Callable[[int], Training], most: int, multiple: int) -> Training:
    """For as many members, up to `most`, as memory holds, in chunks as even as can be."""
    limit, members = -largest(-int(_memory())), most  # all processes must choose the same
    while True:
        training = make(members)
        if training.bytes <= limit or members == multiple:
            return training
        fewer = max(multiple, int(members * limit / training.bytes) // multiple * multiple)
        even = math.ceil(most / math.ceil(most / fewer) / multiple) * multiple
        members = min(even, members - multiple)


def _memory() -> float:
    """Bytes that a device has for a program: nine tenths of what is left; on a CPU half of the machine's."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics is not None:
        return _SHARE_OF_MEMORY * (statistics["bytes_limit"] - statistics["bytes_in_use"])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return 0.5 * min(total, total if limit == "max" else int(limit)) / len(jax.local_devices())


def _fastest(candidates: list[Training], family: Family, data: Dataset) -> tuple[Plan, Training]:
    """By the time of an epoch's step of a seed, after one step that is not timed."""
    seconds = [_step_seconds(training, family, data) for training in candidates]
    best = int(np.argmin(seconds))
    times = ", ".join(f"{t.axis.kind} {1000 * s:.3g} ms" for t, s in zip(candidates, seconds, strict=True))
    return _plan(candidates[best], f"a step of one seed takes: {times}")


def _step_seconds(training: Training, family: Family, data: Dataset) -> float:
    axis = training.axis
    chunk = chunks(family, numbered_seeds(family.config), axis)[0]
    numbers = axis.put(chunk.numbers, by_seed=True)
    state = training.init(chunk.numbers, chunk.keys)
    train = axis.put(data.train, by_seed=False)
    seconds, before = 0.0, 0
    for segment in segments(training, numbers, state, None, train):
        if before:
            seconds += segment.seconds
        before = before or segment.done
        if segment.done == training.steps or seconds > _TRIAL_SECONDS:
            break
    # An epoch of a single step has no other to be timed by.
    return (seconds / (segment.done - before) if segment.done > before else segment.seconds) / axis.members
