"""Runs one method over its seeds: compiles once, trains epoch by epoch, and reports each as a row."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.compilation import jit
from experiments.config import RunOptions
from experiments.data import Dataset
from experiments.train import Learner, make_train, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Row:
    """One epoch of one seed. Seconds are cumulative over the run's epochs, and leave compilation out."""

    method: str
    seed: int
    epoch: int
    train_loss: float
    test_accuracy: float
    test_accuracy_uncalibrated: float  # with the BatchNorm statistics gathered in training
    test_accuracy_hashed: float | None  # evaluated through the hash, of a method that hashes
    diagnostics: dict[str, dict[str, float]]  # mean over the epoch's steps, of each hashed layer by its name
    train_seconds: float  # recalibration included
    recalibrate_seconds: float
    step_seconds: float  # of this epoch, mean, recalibration left out
    compile_seconds: float  # of the method, once for all its seeds


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled pieces of a method's run, and what they cost.

    Attributes:
        group: seeds run at once, along a leading axis of every state, or 0 for one at a time without such an axis.
        flops_per_step: as XLA's cost analysis counts the training step of one seed.
    """

    group: int
    init: Callable[..., Any]
    epoch: Callable[..., Any]
    recalibrate: Callable[..., Any] | None
    accuracy: Callable[..., Any]
    hashed_accuracy: Callable[..., Any] | None
    rounds: np.ndarray
    compile_seconds: float
    flops_per_step: float


def compile_method(
    config: RunOptions, learner: Learner, data: Dataset, on_step: Callable[[jax.Array], None] | None = None
) -> Programs:
    """Compiles what training needs. On an accelerator all seeds run at once, on a CPU in turn."""
    train = make_train(config, learner, data, on_step)
    group = config.seeds if config.seeds > 1 and jax.default_backend() != "cpu" else 0
    lift = jax.vmap if group else _plain
    key = jax.eval_shape(lambda: _keys(config, 0, group))
    start = time.perf_counter()
    init = jit(lift(train.init)).lower(key).compile()
    state = jax.eval_shape(lift(train.init), key)
    epoch = jit(lift(train.epoch, in_axes=(0, None, None)), donate_argnums=0)
    epoch = epoch.lower(state, data.train, train.rounds[0]).compile()

    def compiled(function, in_axes, *arguments):
        return None if function is None else jit(lift(function, in_axes)).lower(*arguments).compile()

    evaluation = (0, 0, None), state, state.batch_stats, data.test
    accuracy, hashed_accuracy = (compiled(f, *evaluation) for f in (train.accuracy, train.hashed_accuracy))
    recalibrate = compiled(train.recalibrate, (0, None), state, data.train)
    seconds = time.perf_counter() - start
    flops = step_flops(config, learner, data)
    return Programs(group, init, epoch, recalibrate, accuracy, hashed_accuracy, train.rounds, seconds, flops)


def run_method(config: RunOptions, name: str, data: Dataset, programs: Programs) -> Iterator[Row]:
    """Trains all seeds of `config` by method `name`, and yields a row after each epoch of each seed."""
    for first in range(0, config.seeds, programs.group or 1):
        yield from _run_group(config, name, data, programs, first)


def _run_group(config: RunOptions, name: str, data: Dataset, programs: Programs, first: int) -> Iterator[Row]:
    members = programs.group or 1
    steps = steps_per_epoch(config, data)
    state = programs.init(_keys(config, first, programs.group))
    train_seconds = recalibrate_seconds = 0.0
    for epoch in range(1, config.epochs + 1):
        with _timed() as training:
            state, metrics = jax.block_until_ready(programs.epoch(state, data.train, programs.rounds[epoch - 1]))
            jax.effects_barrier()
        stats, recalibrating = state.batch_stats, [0.0]
        if programs.recalibrate is not None:
            with _timed() as recalibrating:
                stats = jax.block_until_ready(programs.recalibrate(state, data.train))
        train_seconds += (training[0] + recalibrating[0]) / members
        recalibrate_seconds += recalibrating[0] / members
        accuracy = uncalibrated = programs.accuracy(state, state.batch_stats, data.test)
        if programs.recalibrate is not None:
            accuracy = programs.accuracy(state, stats, data.test)
        hashed = None
        if programs.hashed_accuracy is not None:
            hashed = programs.hashed_accuracy(state, stats, data.test)
        for member in range(members):
            yield Row(
                method=name,
                seed=config.seed + first + member,
                epoch=epoch,
                train_loss=float(jnp.ravel(metrics.loss)[member]),
                test_accuracy=float(jnp.ravel(accuracy)[member]),
                test_accuracy_uncalibrated=float(jnp.ravel(uncalibrated)[member]),
                test_accuracy_hashed=None if hashed is None else float(jnp.ravel(hashed)[member]),
                diagnostics={
                    layer: {name: float(jnp.ravel(value)[member]) for name, value in values._asdict().items()}
                    for layer, values in metrics.diagnostics.items()
                },
                train_seconds=train_seconds,
                recalibrate_seconds=recalibrate_seconds,
                step_seconds=training[0] / members / steps,
                compile_seconds=programs.compile_seconds,
            )


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


def _keys(config: RunOptions, first: int, group: int) -> jax.Array:
    if not group:
        return jax.random.key(config.seed + first)
    return jax.vmap(jax.random.key)(config.seed + first + jnp.arange(group))


def _plain(function, in_axes=None):
    """In the place of `jax.vmap` where there is one seed."""
    return function


@contextlib.contextmanager
def _timed() -> Iterator[list[float]]:
    """Gives a list that holds the block's seconds once it has ended."""
    seconds = [0.0]
    start = time.perf_counter()
    yield seconds
    seconds[0] = time.perf_counter() - start
