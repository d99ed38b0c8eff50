"""The options that every training program has."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from experiments.compiler.chips import check_topology
from experiments.process.checks import check_at_least, check_different, check_names, flag, listed
from experiments.process.errors import UsageError
from experiments.training.rows import Row

COMPILE_FOR = "tpu:"
"""What --compile-for has before the name of a topology."""


@dataclasses.dataclass(frozen=True)
class RunOptions(abc.ABC):
    """The options that every training program has, and what a program says of its own.

    Attributes:
        presets: values of options by the preset's name; the first preset is the default.
        known_methods: what `methods` may name: `experiments.training.method.TrainingMethod`s.
        task: "module:function" of what makes the `experiments.training.task.Task` of such options.
        row: the lines of metrics.jsonl.
        saves_every_epoch: whether a checkpoint is written at every epoch's end, besides the times when one is due.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    known_methods: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[str]
    row: ClassVar[type[Row]]
    saves_every_epoch: ClassVar[bool] = True

    methods: tuple[str, ...] = ()
    """What to compare; the first is the one others are relative to."""
    rehash_every: int = 100
    """Steps between rehashes, or 0 for never."""
    rehash_decay_after: int = 10_000
    """Steps after which there are --rehash-every-late steps between rehashes."""
    rehash_every_late: int = 1_000
    lrs: Annotated[tuple[float, ...], tyro.conf.arg(name="lr")] = (0.2,)
    """Peak learning rate; several for a run of each method with each, compiled once."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, optimizer, statistics and loss are float32 all the same."""
    seeds: int = 1
    """How many seeds to run."""
    seed: int = 0
    """The first of them."""
    seed_axis: Literal["auto", "vmap", "map", "shard", "fastest"] = "auto"
    """map: seeds in turn. vmap: many at once on a device. shard: over all devices. auto: map on a CPU, vmap on one
    accelerator (map for networks of convolutions, unless --seeds-at-once is given), shard on several devices. fastest:
    whichever an epoch of each (or as many steps as take 20 s) shows to be fastest; these differ in the last bits of
    their results."""
    seeds_at_once: int = 0
    """How many seeds vmap and shard run at once; 0 for as many as memory holds, where shard runs one
    on each device at a time on a CPU and for networks of convolutions."""
    mesh: tuple[int, int] | None = None
    """For shard: devices over which the seeds are split, and over which each batch is (default: as many as can be for
    the seeds)."""
    checkpoint_minutes: float = 10.0
    """Minutes from one checkpoint within an epoch to the next; there is one after every epoch in any case."""
    compile_for: str | None = None
    """tpu:v5e:2x2 or another topology (v5e, v6e, v5p, v4): train nothing, but compile the run for these chips, which
    need not be there, and say whether it fits (exit code 1 if not) and what a step takes at least."""
    out: Path | None = None
    """Directory of the run (default: runs/<time>-<data>)."""
    resume: Path | None = None
    """Directory of a run to continue, with the options that it was begun with."""
    distributed: bool = False
    """One of several processes, which a cluster's environment (Slurm, Open MPI, Kubernetes, TPU) tells of."""
    coordinator: str | None = None
    """host:port at which process 0 answers; where the environment tells nothing, with the two options that follow."""
    num_processes: int | None = None
    process_id: int | None = None
    connect_seconds: int = 60
    """How long to wait for the other processes."""

    @property
    @abc.abstractmethod
    def batch_size(self) -> int:
        """Examples of a step."""

    @property
    @abc.abstractmethod
    def epochs(self) -> int:
        """How many stretches of training end in an evaluation."""

    @property
    @abc.abstractmethod
    def data_name(self) -> str:
        """What is trained on, in the default name of a run's directory."""

    @property
    @abc.abstractmethod
    def length(self) -> str:
        """How long is trained, in the title of a summary."""

    @property
    @abc.abstractmethod
    def measured(self) -> str:
        """What the measures are of, in a summary."""

    @property
    def seconds_to_train(self) -> float | None:
        """Seconds of training, of which a trial is to say how many steps they are; None where the options do."""
        return None

    @property
    def follows_steps(self) -> bool:
        """Whether a step depends on how many there will be, as by a schedule."""
        return False

    def with_steps(self, steps: int) -> RunOptions:
        """The options with as many steps, instead of seconds."""
        raise NotImplementedError(f"these options say how many steps there are, not {steps}")

    @property
    def lr(self) -> float:
        """The only value of `lrs`.

        Raises:
            UsageError: if there are several.
        """
        return self._only("lrs")

    def _only(self, name: str) -> Any:
        values = getattr(self, name)
        if len(values) != 1:
            raise UsageError(f"{flag(name)} must be a single value here, got {listed(values)}")
        return values[0]

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(0, self, "seed", "rehash_every", "rehash_decay_after", "seeds_at_once")
        check_at_least(1, self, "epochs", "seeds", "rehash_every_late", "connect_seconds")
        for name in ("methods", "lrs"):
            check_different(name, getattr(self, name))
        check_names("methods", self.methods, self.known_methods)
        for lr in self.lrs:
            if not 0 < lr < float("inf"):
                raise UsageError(f"--lr must be a positive number, got {lr}")
        if not 0 < self.checkpoint_minutes < float("inf"):
            raise UsageError(f"--checkpoint-minutes must be a positive number, got {self.checkpoint_minutes}")
        if self.mesh is not None and min(self.mesh) < 1:
            raise UsageError(f"--mesh must be two numbers from 1, got {self.mesh[0]} {self.mesh[1]}")
        self._check_processes()
        if self.compile_for is not None:
            self._check_compile_for(self.compile_for)

    def _check_compile_for(self, target: str) -> None:
        check_topology("--compile-for", target, COMPILE_FOR)
        if self.seed_axis == "fastest":
            raise UsageError("--seed-axis must be one that needs no clock with --compile-for, got fastest")
        if self.distributed or self.coordinator is not None:
            raise UsageError(f"--compile-for must be given to a single process, got {target} with --distributed")

    def _check_processes(self) -> None:
        together = (self.coordinator, self.num_processes, self.process_id)
        if any(option is not None for option in together) and None in together:
            raise UsageError("--coordinator, --num-processes and --process-id must be given together")
        if self.num_processes is not None and self.process_id is not None:
            check_at_least(1, self, "num_processes")
            if not 0 <= self.process_id < self.num_processes:
                raise UsageError(f"--process-id must be from 0 to {self.num_processes - 1}, got {self.process_id}")
