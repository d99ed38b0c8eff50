"""The options that every training program has."""

# The types of options are looked at when a command line is read: what has been registered by then is listed.
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from experiments.data import check_data
from experiments.data.options import DataOptions
from experiments.process.checks import check_at_least, check_different, check_names, check_share, flag, listed, one_of
from experiments.process.errors import UsageError
from jaxapprox.registry import SAMPLERS


@dataclasses.dataclass(frozen=True)
class RunOptions(DataOptions):
    """The options that every training program has.

    Attributes:
        presets: values of options by the preset's name; the first preset is the default.
        known_methods: what `methods` may name: `experiments.training.method.TrainingMethod`s.
        task: "module:function" of what makes the `experiments.training.task.Task` of such options.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    known_methods: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[str]

    methods: tuple[str, ...] = ()
    """What to compare; the first is the one others are relative to."""
    images: int = 0
    """Train on the first so many images only; 0 for all."""
    ratios: Annotated[tuple[float, ...], tyro.conf.arg(name="ratio")] = (0.5,)
    """Share of the rows that mc keeps, in (0, 1]; several for a run of each."""
    samplers: Annotated[tuple[Annotated[str, one_of(SAMPLERS)], ...], tyro.conf.arg(name="sampler")] = ("topk",)
    """How mc chooses them; several for a run of each."""
    active: float = 0.05
    """Share of a hashed layer's units that alsh activates for an example, in (0, 1]."""
    num_tables: int = 5
    num_bits: int = 6
    transform: Literal["l2", "sign", "simple"] = "l2"
    select: Literal["union", "count"] = "union"
    rehash_every: int = 100
    """Steps between rehashes, or 0 for never."""
    rehash_decay_after: int = 10_000
    """Steps after which there are --rehash-every-late steps between rehashes."""
    rehash_every_late: int = 1_000
    epochs: int = 15
    batch_size: int = 64
    lrs: Annotated[tuple[float, ...], tyro.conf.arg(name="lr")] = (0.2,)
    """Peak learning rate; several for a run of each method with each, compiled once."""
    seeds: int = 1
    """How many seeds to run."""
    seed: int = 0
    """The first of them."""
    validation: bool = False
    """Evaluate on a tenth of the training set, held out, and never look at the test set: for choosing settings."""
    seed_axis: Literal["auto", "vmap", "map", "shard", "fastest"] = "auto"
    """map: seeds in turn. vmap: many at once on a device. shard: over all devices. auto: map on a CPU, vmap on one
    accelerator, shard on several devices. fastest: whichever an epoch of each (or as many steps as take 20 s) shows to
    be fastest; these differ in the last bits of their results."""
    seeds_at_once: int = 0
    """How many seeds vmap and shard run at once; 0 for as many as memory holds."""
    mesh: tuple[int, int] | None = None
    """For shard: devices over which the seeds are split, and over which each batch is (default: as many as can be for
    the seeds)."""
    checkpoint_minutes: float = 10.0
    """Minutes from one checkpoint within an epoch to the next; there is one after every epoch in any case."""
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
    def ratio(self) -> float:
        """The only value of `ratios`. This property and the next two raise a UsageError if there are several."""
        return self._only("ratios")

    @property
    def sampler(self) -> str:
        """The only value of `samplers`."""
        return self._only("samplers")

    @property
    def lr(self) -> float:
        """The only value of `lrs`."""
        return self._only("lrs")

    def _only(self, name: str) -> Any:
        values = getattr(self, name)
        if len(values) != 1:
            raise UsageError(f"{flag(name)} must be a single value here, got {listed(values)}")
        return values[0]

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_data(self.data)
        check_at_least(0, self, "images", "seed", "rehash_every", "rehash_decay_after", "seeds_at_once")
        check_at_least(1, self, "epochs", "batch_size", "seeds", "num_tables", "num_bits", "rehash_every_late")
        check_at_least(1, self, "connect_seconds")
        check_share(self, "active")
        for name in ("methods", "ratios", "samplers", "lrs"):
            check_different(name, getattr(self, name))
        check_names("methods", self.methods, self.known_methods)
        check_names("samplers", self.samplers, SAMPLERS)
        for ratio in self.ratios:
            if not 0 < ratio <= 1:
                raise UsageError(f"--ratio must be in (0, 1], got {ratio}")
        for lr in self.lrs:
            if not 0 < lr < float("inf"):
                raise UsageError(f"--lr must be a positive number, got {lr}")
        if not 0 < self.checkpoint_minutes < float("inf"):
            raise UsageError(f"--checkpoint-minutes must be a positive number, got {self.checkpoint_minutes}")
        if self.mesh is not None and min(self.mesh) < 1:
            raise UsageError(f"--mesh must be two numbers from 1, got {self.mesh[0]} {self.mesh[1]}")
        self._check_processes()
        from jaxapprox.lsh import MOST_BITS  # imports JAX: last, so that other slips are said at once

        if self.num_bits > MOST_BITS:
            raise UsageError(f"--num-bits must be at most {MOST_BITS}, got {self.num_bits}")

    def _check_processes(self) -> None:
        together = (self.coordinator, self.num_processes, self.process_id)
        if any(option is not None for option in together) and None in together:
            raise UsageError("--coordinator, --num-processes and --process-id must be given together")
        if self.num_processes is not None and self.process_id is not None:
            check_at_least(1, self, "num_processes")
            if not 0 <= self.process_id < self.num_processes:
                raise UsageError(f"--process-id must be from 0 to {self.num_processes - 1}, got {self.process_id}")
