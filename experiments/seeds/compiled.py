"""The compiled pieces of training: what one family of settings needs, along a seed axis."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset
from experiments.seeds.axis import SeedAxis
from experiments.seeds.settings import Family, with_numbers
from experiments.training.compilation import jit
from experiments.training.loop import Learner, State, Train, make_train, steps_per_epoch
from experiments.training.options import RunOptions

LearnerOf = Callable[[str, Any], Learner]
"""(method, config) -> the learner."""


@dataclasses.dataclass(frozen=True)
class Training:
    """Every array that differs from seed to seed has a leading axis of members; a state's key is its raw data.

    Attributes:
        axis: that was lifted along.
        init: (numbers, key data (members, ...)), on the host -> State, where the axis puts it.
        segment: (numbers, State, total, train, first, rounds, span) -> (State, total), as `Train.segment`; it takes
            over the memory of state and total.
        state, total: their shapes.
        one: the training of one seed, for what is no program.
        steps: of an epoch.
        compile_seconds: of the two.
        bytes: that a device needs for a segment, by the compiled program's own analysis.
    """

    axis: SeedAxis
    init: Callable[..., Any]
    segment: Callable[..., Any]
    state: Any
    total: Any
    one: Train
    steps: int
    compile_seconds: float
    bytes: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """As in `Train`, each with the numbers as its first argument; None where there is nothing to do."""

    recalibrate: Callable[..., Any] | None
    accuracy: Callable[..., Any]
    hashed_accuracy: Callable[..., Any] | None
    compile_seconds: float


def compile_training(family: Family, learner_of: LearnerOf, data: Dataset, axis: SeedAxis) -> Training:
    """Compiles initialisation and training."""
    train_of = _train_of(family, learner_of, data, axis)
    one = train_of(family.settings[0].numbers)

    def init_one(numbers, key):
        return _raw(train_of(numbers).init(jax.random.wrap_key_data(key)))

    def init(numbers, keys):
        # One program for every axis: others may fold its constants in another order, and begin an ulp away.
        members = [compiled_init({name: a[i] for name, a in numbers.items()}, key) for i, key in enumerate(keys)]
        return axis.put(jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(members)), by_seed=True)

    def of_members(tree):
        return axis.shapes(
            jax.tree.map(lambda a: jax.ShapeDtypeStruct((axis.members, *a.shape), a.dtype), tree), by_seed=True
        )

    def segment(numbers, state, *rest):
        state, total = train_of(numbers).segment(_cooked(state), *rest)
        return _raw(state), total

    start = time.perf_counter()
    numbers = axis.shapes(_numbers(family, axis), by_seed=True)
    first = jax.tree.map(lambda a: a[0], (_numbers(family, axis), raw_keys(jnp.arange(1))))
    lowered_init = jit(init_one).lower(*first)
    compiled_init, state = lowered_init.compile(), of_members(lowered_init.out_info)
    total = of_members(jax.eval_shape(one.nothing))
    lifted = axis.lift(segment, (True, True, True, False, False, False, False))
    shared = axis.shapes((data.train, jnp.int32(0), jnp.asarray(one.rounds[0]), jnp.zeros(2, jnp.int32)), by_seed=False)
    compiled_segment = jit(lifted, donate_argnums=(1, 2)).lower(numbers, state, total, *shared).compile()
    memory = compiled_segment.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return Training(
        axis,
        init,
        compiled_segment,
        state,
        total,
        one,
        steps_per_epoch(family.config, data),
        time.perf_counter() - start,
        size - memory.alias_size_in_bytes,
    )


def compile_evaluation(family: Family, learner_of: LearnerOf, data: Dataset, training: Training) -> Evaluation:
    """Compiles what tells how well a state does."""
    axis, one = training.axis, training.one
    train_of = _train_of(family, learner_of, data, axis)
    numbers = axis.shapes(_numbers(family, axis), by_seed=True)
    start = time.perf_counter()

    def compiled(name, by_seed, *arguments):
        if getattr(one, name) is None:
            return None

        def function(numbers, state, *rest):
            return getattr(train_of(numbers), name)(_cooked(state), *rest)

        return jit(axis.lift(function, (True, True, *by_seed))).lower(numbers, training.state, *arguments).compile()

    stats, test = training.state.batch_stats, axis.shapes(data.test, by_seed=False)
    accuracy, hashed = (compiled(name, (True, False), stats, test) for name in ("accuracy", "hashed_accuracy"))
    recalibrate = compiled("recalibrate", (False,), axis.shapes(data.train, by_seed=False))
    return Evaluation(recalibrate, accuracy, hashed, time.perf_counter() - start)


def raw_keys(seeds: Any) -> jax.Array:
    """The data of each seed's key."""
    return jax.vmap(lambda seed: jax.random.key_data(jax.random.key(seed)))(seeds)


def step_flops(config: RunOptions, learner: Learner, data: Dataset) -> float:
    """FLOPs of a training step, as XLA counts them for the plain form of every convolution.

    That is the form for accelerators, lowered but not compiled: the CPU's runs kernel gradients block by block in a
    loop, of which the analysis would count one turn.
    """
    train = make_train(config, learner, data)
    state = jax.eval_shape(train.init, jax.random.key(0))
    images, labels = (jax.ShapeDtypeStruct((config.batch_size, *a.shape[1:]), a.dtype) for a in data.train)
    lowered = jax.jit(train.step).trace(state, images, labels).lower(lowering_platforms=("cuda",))
    return float(lowered.cost_analysis()["flops"])


def _train_of(family: Family, learner_of: LearnerOf, data: Dataset, axis: SeedAxis) -> Callable[[Any], Train]:
    def train_of(numbers: Any) -> Train:
        config = with_numbers(family.config, numbers)
        return make_train(config, learner_of(family.method, config), data, axis.constrain)

    return train_of


def _numbers(family: Family, axis: SeedAxis) -> dict[str, jax.Array]:
    return {name: jnp.full(axis.members, value) for name, value in family.settings[0].numbers.items()}


def _raw(state: State) -> State:
    return state._replace(key=jax.random.key_data(state.key))


def _cooked(state: State) -> State:
    return state._replace(key=jax.random.wrap_key_data(state.key))
