"""The compiled programs of training: what one family of settings needs, along a seed axis."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compiler.topology import memory_bytes
from experiments.process.distributed import largest
from experiments.seeds.axis import SeedAxis
from experiments.seeds.settings import Family
from experiments.training.compilation import jit
from experiments.training.learner import State
from experiments.training.loop import Data, Train, make_train
from experiments.training.rows import Row
from experiments.training.task import Task
from jaxapprox.efficiency import flops

SHARE_OF_MEMORY = 0.9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


Hyperparameters = Mapping[str, Any]
"""The values of the hyperparameters by the option's name, `(members,)` each."""


class InitMembers(Protocol):
    """Makes the first states from `(members, ...)` data of the seeds' keys, on the host; the axis puts them."""

    def __call__(self, hyperparameters: Hyperparameters, keys: np.ndarray) -> State: ...


class RunMembersSegment(Protocol):
    """Trains a segment of an epoch, as `Train.segment`; state and total are donated."""

    def __call__(
        self,
        hyperparameters: Hyperparameters,
        state: State,
        total: Any,
        train: Any,
        first: jax.Array,
        rounds: jax.Array,
        span: jax.Array,
        /,
    ) -> tuple[State, Any]: ...


class EvaluateMembers(Protocol):
    """Columns of metrics.jsonl, `(members,)` each, as one of `Learner.evaluations`."""

    def __call__(
        self, hyperparameters: Hyperparameters, state: State, batch_stats: Any, test: Any, /
    ) -> dict[str, jax.Array]: ...


class RecalibrateMembers(Protocol):
    """Re-estimates the BatchNorm statistics of each member, as `Learner.recalibrate`."""

    def __call__(self, hyperparameters: Hyperparameters, state: State, train: Any, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class CompiledTraining:
    """Initialisation and training of all members of a seed axis.

    Every array that differs from seed to seed has a leading axis of members; a state's key is its raw data.

    Attributes:
        axis: along which the seeds are trained.
        init: makes the first states.
        segment: trains a segment of an epoch.
        state, total: their shapes.
        one: the training of one seed, for what runs on the host.
        compile_seconds: of both programs.
        bytes: that a device needs for a segment, by the compiled program's own analysis.
    """

    axis: SeedAxis
    init: InitMembers
    segment: RunMembersSegment
    state: State
    total: Any
    one: Train
    compile_seconds: float
    bytes: int

    @property
    def steps(self) -> int:
        """Those of the first epoch; of images, of every one."""
        return int(self.one.learner.feed.steps[0])

    def with_steps(self, family: Family, task: Task) -> "CompiledTraining":
        """The same programs for the family with another number of steps."""
        return dataclasses.replace(self, one=_train(family, task, self.axis, family.settings[0].hyperparameters))


@dataclasses.dataclass(frozen=True)
class CompiledEvaluation:
    """Evaluation of all members of a seed axis.

    Attributes:
        recalibrate: None where there is nothing to re-estimate.
        evaluations: as the learner's.
        row: what their columns make.
        compile_seconds: of all programs.
    """

    recalibrate: RecalibrateMembers | None
    evaluations: tuple[EvaluateMembers, ...]
    row: type[Row]
    compile_seconds: float


def compile_training(family: Family, task: Task, axis: SeedAxis) -> CompiledTraining:
    """Compiles initialisation and training for the members of `axis`, or for as many of them as memory holds.

    Where there are to be fewer, the chunks of the seeds are as even as can be.
    """
    limit = -largest(-int(_memory()))  # all processes must choose the same
    least, most = axis.shards, axis.members
    while True:
        training = _compile(family, task, axis)
        if training.bytes <= limit or axis.members <= least:
            return training
        axis = with_fewer(axis, most, training.bytes / limit)


def with_fewer(axis: SeedAxis, most: int, excess: float) -> SeedAxis:
    """An axis of fewer members, where so many need `excess` times the memory that there is.

    Args:
        axis: of more members than it has shards.
        most: members that are to be trained in chunks as even as can be.
        excess: above 1.
    """
    least = axis.shards
    fewer = max(least, int(axis.members / excess) // least * least)
    even = math.ceil(most / math.ceil(most / fewer) / least) * least
    return dataclasses.replace(axis, members=min(even, axis.members - least))


def lower_segment(family: Family, task: Task, axis: SeedAxis) -> jax.stages.Lowered:
    """The program that trains a segment, not compiled yet."""
    state = jax.eval_shape(_init_one(family, task, axis), *_first_seed(family, axis))
    return _lower_segment(family, task, axis, state)


def _compile(family: Family, task: Task, axis: SeedAxis) -> CompiledTraining:
    def init(hyperparameters, keys):
        # One program for every axis: others may fold its constants in another order, and begin an ulp away.
        each = [compiled_init({name: a[i] for name, a in hyperparameters.items()}, key) for i, key in enumerate(keys)]
        return axis.put(jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(each)), by_seed=True)

    start = time.perf_counter()
    one = _train(family, task, axis, family.settings[0].hyperparameters)
    lowered_init = jit(_init_one(family, task, axis)).lower(*_first_seed(family, axis))
    compiled_init, state = lowered_init.compile(), lowered_init.out_info
    compiled_segment = _lower_segment(family, task, axis, state).compile()
    return CompiledTraining(
        axis,
        init,
        compiled_segment,
        _of_members(axis, state),
        _of_members(axis, jax.eval_shape(one.zero_metrics)),
        one,
        time.perf_counter() - start,
        memory_bytes(compiled_segment),
    )


def _init_one(family: Family, task: Task, axis: SeedAxis) -> Callable[..., State]:
    def init_one(hyperparameters, key):
        return _with_key_data(_train(family, task, axis, hyperparameters).init(jax.random.wrap_key_data(key)))

    return init_one


def _first_seed(family: Family, axis: SeedAxis) -> Any:
    """Hyperparameters and the data of a key, as `_init_one` takes them."""
    return jax.tree.map(lambda a: a[0], (_hyperparameters(family, axis), seed_key_data(jnp.arange(1))))


def _lower_segment(family: Family, task: Task, axis: SeedAxis, state: Any) -> jax.stages.Lowered:
    """The program for all members, of each of whom `state` has the shapes."""

    def segment(hyperparameters, state, *rest):
        state, total = _train(family, task, axis, hyperparameters).segment(_with_key(state), *rest)
        return _with_key_data(state), total

    one = _train(family, task, axis, family.settings[0].hyperparameters)
    lifted = axis.lift(segment, (True, True, True, False, False, False, False))
    rounds = jnp.int32(0), jnp.zeros((one.rounds_at_once, 2), jnp.int32), jnp.zeros(2, jnp.int32)
    shared = axis.shapes((task.data.train, *rounds), by_seed=False)
    total = _of_members(axis, jax.eval_shape(one.zero_metrics))
    own = axis.shapes(_hyperparameters(family, axis), by_seed=True), _of_members(axis, state), total
    # The next segment takes what this one leaves: XLA must not split it over the devices that share a seed.
    placed = axis.sharding(by_seed=True)
    program = jit(lifted, platform=axis.platform, donate_argnums=(1, 2), out_shardings=placed)
    return program.lower(*own, *shared)


def _of_members(axis: SeedAxis, tree: Any) -> Any:
    """The shapes of what each member has one of."""
    stacked = jax.tree.map(lambda a: jax.ShapeDtypeStruct((axis.members, *a.shape), a.dtype), tree)
    return axis.shapes(stacked, by_seed=True)


def compile_evaluation(family: Family, task: Task, training: CompiledTraining) -> CompiledEvaluation:
    """Compiles what tells how well a state does."""
    axis, one = training.axis, training.one
    hyperparameters = axis.shapes(_hyperparameters(family, axis), by_seed=True)
    start = time.perf_counter()

    def compiled(function_of, by_seed, *arguments):
        def function(hyperparameters, state, *rest):
            return function_of(_train(family, task, axis, hyperparameters))(_with_key(state), *rest)

        lifted = axis.lift(function, (True, True, *by_seed))
        return jit(lifted).lower(hyperparameters, training.state, *arguments).compile()

    stats, test = training.state.batch_stats, axis.shapes(task.data.test, by_seed=False)
    evaluations = tuple(
        compiled(lambda train, number=number: train.learner.evaluations[number], (True, False), stats, test)
        for number in range(len(one.learner.evaluations))
    )
    recalibrate = None
    if one.learner.recalibrate is not None:
        train_split = axis.shapes(task.data.train, by_seed=False)
        recalibrate = compiled(lambda train: train.learner.recalibrate, (False,), train_split)
    return CompiledEvaluation(recalibrate, evaluations, family.config.row, time.perf_counter() - start)


def seed_key_data(seeds: Any) -> jax.Array:
    """The data of each seed's key: `(seeds, ...)` uint32."""
    return jax.vmap(lambda seed: jax.random.key_data(jax.random.key(seed)))(seeds)


def step_flops(train: Train, data: Data) -> float:
    """FLOPs of a training step in its form for accelerators: the CPU's has loops, of which one turn would count."""
    state = jax.eval_shape(train.init, jax.random.key(0))
    batch = jax.eval_shape(train.first_batch, state, data.train)
    return flops(train.learner.step, state, *batch, platform="cuda")


def _train(family: Family, task: Task, axis: SeedAxis, hyperparameters: Any) -> Train:
    """The training of one seed with these hyperparameters, which may be traced."""
    config = family.config_with(hyperparameters)
    learner = task.make_learner(config, family.method.layers(config))
    return make_train(config, learner, task.data, axis.constrain)


def _hyperparameters(family: Family, axis: SeedAxis) -> dict[str, jax.Array]:
    """Values of the shapes that a program for the members of `axis` takes."""
    return {name: jnp.full(axis.members, value) for name, value in family.settings[0].hyperparameters.items()}


def _with_key_data(state: State) -> State:
    """The state with the raw data of its key, which can be saved and split over devices."""
    return state._replace(key=jax.random.key_data(state.key))


def _with_key(state: State) -> State:
    """The state with a typed key again."""
    return state._replace(key=jax.random.wrap_key_data(state.key))


def _memory() -> float:
    """Bytes that a device has for a program: nine tenths of what is left; on a CPU half of the machine's."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics is not None:
        return SHARE_OF_MEMORY * (statistics["bytes_limit"] - statistics["bytes_in_use"])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.exists() else "max"
    return 0.5 * min(total, total if limit == "max" else int(limit)) / len(jax.local_devices())
