"""Along which axis the seeds of a family are trained, and how many at once: by a fixed rule, or as asked."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
from jax.sharding import Mesh

from experiments.process.errors import UsageError
from experiments.seeds.axis import SeedAxis, make_mesh
from experiments.seeds.clock import step_seconds
from experiments.seeds.compiled import compile_training
from experiments.seeds.settings import Family
from experiments.training.options import RunOptions
from experiments.training.task import Task

_TRIAL_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a family was trained, which as options makes the same choice again, and why."""

    kind: Literal["map", "vmap", "shard"]
    members: int
    mesh: tuple[int, int] | None
    why: str
    steps: int | None = None  # of a seed, where the options say seconds

    @classmethod
    def of(cls, axis: SeedAxis, why: str, steps: int | None = None) -> "Plan":
        """The plan of training along `axis`."""
        mesh = None if axis.mesh is None else (axis.mesh.shape["seed"], axis.mesh.shape["data"])
        return cls(axis.kind, axis.members, mesh, why, steps)


def choose_axis(family: Family, task: Task, described: Sequence[Any] | None = None) -> tuple[SeedAxis, str]:
    """The seed axis by `--seed-axis`, `--seeds-at-once` and `--mesh`, and why it was chosen.

    Its members are the most that are to be trained at once, whatever memory holds.

    Args:
        family: what is trained.
        task: on what.
        described: devices to compile for, in the place of JAX's own; they can't tell what is fastest.

    Raises:
        UsageError: if the mesh does not fit.
    """
    config = family.config
    devices = jax.devices() if described is None else described
    one = None if described is None else devices[0]
    if must_shard(config):
        why = "as asked" if config.seed_axis == "shard" else "for several processes or --mesh"
        return _split(family, task, described), why
    if config.seed_axis == "map":
        return _in_turn(one), "as asked"
    if config.seed_axis == "vmap":
        return _at_once(family, one), "as asked"
    if config.seed_axis == "fastest" and described is None:
        return _fastest(family, task)
    if len(devices) > 1 and _divides(family, described):
        return _split(family, task, described), "the rule for several devices"
    if _platform(described) == "cpu":
        return _in_turn(one), "the rule for a CPU"
    if task.faster_at_once or config.seeds_at_once:
        return _at_once(family, one), "the rule for one accelerator"
    return _in_turn(one), "the rule for one accelerator and seeds slower at once"


def must_shard(config: RunOptions) -> bool:
    """Whether there is no choice of the seed axis."""
    return config.seed_axis == "shard" or jax.process_count() > 1 or config.mesh is not None


def check_mesh(family: Family, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over which the family's seeds are split, of JAX's own devices unless others are given.

    Raises:
        UsageError: if it does not divide the work.
    """
    config = family.config
    mesh = make_mesh(config.mesh, len(family.members), config.batch_size, devices)
    over = mesh.shape["seed"]
    if config.seeds_at_once % over:
        raise UsageError(f"--seeds-at-once must be a multiple of the mesh's {over}, got {config.seeds_at_once}")
    return mesh


def _in_turn(device: Any = None) -> SeedAxis:
    return SeedAxis("map", 1, device=device)


def _at_once(family: Family, device: Any = None) -> SeedAxis:
    total = len(family.members)
    return SeedAxis("vmap", min(family.config.seeds_at_once or total, total), device=device)


def _split(family: Family, task: Task, described: Sequence[Any] | None = None) -> SeedAxis:
    mesh = check_mesh(family, described)
    # On a CPU more than one seed on a device does not pay.
    together = task.faster_at_once and _platform(described) != "cpu"
    most = len(family.members) if together else mesh.shape["seed"]
    return SeedAxis("shard", family.config.seeds_at_once or most, mesh)


def _platform(described: Sequence[Any] | None) -> str:
    return jax.default_backend() if described is None else described[0].platform


def _divides(family: Family, described: Sequence[Any] | None = None) -> bool:
    """Whether all devices can be used."""
    try:
        check_mesh(family, described)
    except UsageError:
        return False
    return True


def _fastest(family: Family, task: Task) -> tuple[SeedAxis, str]:
    """The axis along which a step of a seed takes the least time, in a trial of each; it is compiled once more then."""
    axes = [_in_turn(), *([_at_once(family)] if len(family.members) > 1 else [])]
    if len(jax.devices()) > 1 and _divides(family):
        axes.append(_split(family, task))
    trials = [compile_training(family, task, axis) for axis in axes]
    seconds = [
        step_seconds(training, family, task, seconds=_TRIAL_SECONDS, steps=training.steps) for training in trials
    ]
    times = ", ".join(f"{t.axis.kind} {1000 * s:.3g} ms" for t, s in zip(trials, seconds, strict=True))
    best = min(zip(seconds, trials, strict=True), key=lambda trial: trial[0])[1]
    return best.axis, f"a step of one seed takes: {times}"
