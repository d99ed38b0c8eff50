"""Trains a chunk of seeds in short segments, so that it can be watched, stopped and saved between them.

A segment is some consecutive steps of an epoch that run in one call.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.process.distributed import from_first, to_host
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import CompiledEvaluation, CompiledTraining, seed_key_data
from experiments.seeds.settings import Family
from experiments.training.options import RunOptions
from experiments.training.rows import Row

_SEGMENT_SECONDS = 2.0  # a signal waits as long
_GROWTH = 8  # of a segment's steps over those of the one before


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a chunk of seeds has been trained.

    Attributes:
        members: of the chunk, the name of a setting and a seed for each.
        epoch: epochs finished.
        step: steps done of the next one.
        train_seconds, recalibrate_seconds: so far, for all members together.
        epoch_seconds: of the unfinished epoch.
    """

    members: tuple[tuple[str, int], ...]
    epoch: int = 0
    step: int = 0
    train_seconds: float = 0.0
    recalibrate_seconds: float = 0.0
    epoch_seconds: float = 0.0


class Moment(NamedTuple):
    """What there is between two segments.

    Attributes:
        position: how far the chunk has come.
        state, total: on the devices, until the next segment, to which they are donated; see `CompiledTraining`.
        loss: mean over the steps of the epoch so far and over the seeds.
        rows: of the epoch that has just ended, one for each seed; else none.
    """

    position: Position
    state: Any
    total: Any
    loss: float
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The seeds that are trained at once; a short chunk has its last member again in place of missing ones.

    Attributes:
        members: the name of a setting and a seed for each, without repetition.
        hyperparameters: of their settings, `(members,)` each.
        keys: data of their seeds' keys.
    """

    members: tuple[tuple[str, int], ...]
    hyperparameters: dict[str, np.ndarray]
    keys: np.ndarray


def chunks(family: Family, seeds: Mapping[int, np.ndarray], axis: SeedAxis) -> list[Chunk]:
    """All seeds of the first setting, then of the next.

    Args:
        family: of the settings.
        seeds: the data of each seed's key, by the seed.
        axis: says how many make a chunk.
    """
    members = [(setting, seed) for setting in family.settings for seed in seeds]
    result = []
    for start in range(0, len(members), axis.members):
        own = members[start : start + axis.members]
        filled = own + own[-1:] * (axis.members - len(own))
        hyperparameters = {
            name: np.array([setting.hyperparameters[name] for setting, _ in filled], np.float32)
            for name in own[0][0].hyperparameters
        }
        names = tuple((setting.name, seed) for setting, seed in own)
        result.append(Chunk(names, hyperparameters, np.stack([seeds[seed] for _, seed in filled])))
    return result


def numbered_seeds(config: RunOptions) -> dict[int, np.ndarray]:
    """The key data of each seed that the options ask for."""
    seeds = range(config.seed, config.seed + config.seeds)
    return dict(zip(seeds, np.asarray(seed_key_data(np.array(seeds))), strict=True))


def run_chunk(
    chunk: Chunk,
    training: CompiledTraining,
    evaluation: CompiledEvaluation,
    train: Any,
    test: Any,
    start: tuple[Position, tuple[Any, Any]] | None = None,
) -> Iterator[Moment]:
    """Trains `chunk` to the end of its epochs.

    Args:
        chunk: from `chunks`.
        training, evaluation: of its family.
        train, test: on the devices, by the axis's `put`.
        start: where to go on from, with (state, total) on the host; by default from the beginning.
    """
    axis, hyperparameters = training.axis, training.axis.put(chunk.hyperparameters, by_seed=True)
    if start is None:
        state = training.init(chunk.hyperparameters, chunk.keys)
        position, total = Position(chunk.members), None
    else:
        position, (state, total) = start
        state, total = axis.put((state, total), by_seed=True)
    for progress in train_segments(training, hyperparameters, state, total, train, position.epoch, position.step):
        mean = jax.tree.map(lambda a, done=progress.done: a / done, to_host(progress.total))
        position = dataclasses.replace(
            position,
            step=progress.done,
            train_seconds=position.train_seconds + progress.seconds,
            epoch_seconds=position.epoch_seconds + progress.seconds,
        )
        rows: tuple[Row, ...] = ()
        steps = int(training.one.learner.feed.steps[position.epoch])
        if progress.done == steps:
            columns, seconds = _evaluate(evaluation, hyperparameters, progress.state, train, test)
            position = dataclasses.replace(
                position,
                train_seconds=position.train_seconds + seconds,
                recalibrate_seconds=position.recalibrate_seconds + seconds,
            )
            compile_seconds = training.compile_seconds + evaluation.compile_seconds
            rows = tuple(_rows(evaluation.row, position, mean, columns, steps, compile_seconds))
            position = dataclasses.replace(position, epoch=position.epoch + 1, step=0, epoch_seconds=0.0)
        yield Moment(position, progress.state, progress.total, float(np.mean(mean.loss)), rows)


class Progress(NamedTuple):
    """What a segment has come to.

    Attributes:
        done: steps of the epoch that are done.
        steps: of the segment.
        seconds: that it took.
        state, total: on the devices; see `CompiledTraining`.
    """

    done: int
    steps: int
    seconds: float
    state: Any
    total: Any


def train_segments(
    training: CompiledTraining,
    hyperparameters: Any,
    state: Any,
    total: Any,
    train: Any,
    epoch: int = 0,
    step: int = 0,
) -> Iterator[Progress]:
    """Trains from step `step` of epoch `epoch` to the end, in segments of about two seconds.

    The arrays of each are donated to the next. `total` is None at an epoch's beginning.
    """
    axis, one, pace = training.axis, training.one, 1
    begins = np.cumsum([0, *one.learner.feed.steps])
    zero_metrics = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), training.total)
    at_once = one.rounds_at_once if one.learner.has_rounds else 0
    while epoch < len(one.rounds):
        if step == 0:
            total = axis.put(zero_metrics, by_seed=True)
        rounds, span, done = next_segment(one.rounds[epoch], at_once, step, from_first(pace))
        arguments = axis.put((np.int32(begins[epoch]), rounds, span), by_seed=False)
        start = time.perf_counter()
        state, total = jax.block_until_ready(training.segment(hyperparameters, state, total, train, *arguments))
        seconds = time.perf_counter() - start
        pace = max(1, min(_GROWTH * pace, int(_SEGMENT_SECONDS * (done - step) / seconds)))
        yield Progress(done, done - step, seconds, state, total)
        epoch, step = (epoch + 1, 0) if done == one.learner.feed.steps[epoch] else (epoch, done)


def next_segment(rounds: np.ndarray, at_once: int, done: int, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The bounds of a segment: about `steps` more steps of an epoch, in whole rounds where their beginnings matter.

    Args:
        rounds: `(rounds, 2)`, the epoch's.
        at_once: how many rounds a segment can take; 0 if rounds do not rehash, and may be cut.
        done: steps of the epoch already done; where rounds rehash, up to the end of one.
        steps: at least 1.

    Returns:
        Some rounds, which of them (from, to before), and the epoch's steps done by then.
    """
    if not at_once:
        end = min(done + steps, int(rounds[-1, 1]))
        return np.array([[done, end]], np.int32), np.array([0, 1], np.int32), end
    begin = int(np.argmax((rounds[:, 0] >= done) & (rounds[:, 1] > done)))
    end = begin + min(at_once, int(np.searchsorted(rounds[begin:-1, 1], done + steps)) + 1)
    own = np.zeros((at_once, 2), np.int32)
    own[: end - begin] = rounds[begin:end]
    return own, np.array([0, end - begin], np.int32), int(rounds[end - 1, 1])


def _evaluate(
    evaluation: CompiledEvaluation, hyperparameters: Any, state: Any, train: Any, test: Any
) -> tuple[dict[str, np.ndarray], float]:
    """The columns of the evaluations, `(members,)` each, and the seconds of recalibration."""
    columns: dict[str, jax.Array] = {}
    stats, seconds = state.batch_stats, 0.0
    if evaluation.recalibrate is not None:
        before = evaluation.evaluations[0](hyperparameters, state, stats, test)
        columns = {f"{name}_uncalibrated": values for name, values in before.items()}
        start = time.perf_counter()
        stats = jax.block_until_ready(evaluation.recalibrate(hyperparameters, state, train))
        seconds = time.perf_counter() - start
    for evaluate in evaluation.evaluations:
        columns |= evaluate(hyperparameters, state, stats, test)
    return to_host(columns), seconds


def _rows(
    row: type[Row],
    position: Position,
    mean: Any,
    columns: Mapping[str, np.ndarray],
    steps: int,
    compile_seconds: float,
) -> Iterator[Row]:
    """The rows of the epoch that has ended; time is divided evenly among the members."""
    at_once = len(position.members)
    for i, (name, seed) in enumerate(position.members):
        yield row.of(
            method=name,
            seed=seed,
            epoch=position.epoch + 1,
            train_loss=float(mean.loss[i]),
            **{column: float(values[i]) for column, values in columns.items()},
            diagnostics={
                layer: {name: float(value[i]) for name, value in values._asdict().items()}
                for layer, values in mean.diagnostics.items()
            },
            train_seconds=position.train_seconds / at_once,
            recalibrate_seconds=position.recalibrate_seconds / at_once,
            step_seconds=position.epoch_seconds / steps / at_once,
            compile_seconds=compile_seconds,
        )
