"""Trains a chunk of seeds in short segments, so that it can be watched, stopped and saved between them."""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data.dataset import Split
from experiments.process.distributed import from_first, to_host
from experiments.runs.checkpoint import Position
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import Evaluation, Training, raw_keys
from experiments.seeds.settings import Family
from experiments.training.options import RunOptions

_SEGMENT_SECONDS = 2.0  # a signal waits as long
_GROWTH = 8  # of a segment's steps over those of the one before


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


class Moment(NamedTuple):
    """Between two segments.

    Attributes:
        position: up to here.
        state, total: on the devices, until the next segment takes them over; see `Training`.
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
        members: a setting's name and a seed for each, without repetition.
        numbers: of their settings.
        keys: raw.
    """

    members: tuple[tuple[str, int], ...]
    numbers: dict[str, np.ndarray]
    keys: np.ndarray


def chunks(family: Family, seeds: Mapping[int, np.ndarray], axis: SeedAxis) -> list[Chunk]:
    """All seeds of the first setting, then of the next.

    Args:
        family: of the settings.
        seeds: the raw key of each, by its number.
        axis: says how many make a chunk.
    """
    members = [(setting, seed) for setting in family.settings for seed in seeds]
    result = []
    for start in range(0, len(members), axis.members):
        own = members[start : start + axis.members]
        filled = own + own[-1:] * (axis.members - len(own))
        numbers = {
            name: np.array([setting.numbers[name] for setting, _ in filled], np.float32) for name in own[0][0].numbers
        }
        names = tuple((setting.name, seed) for setting, seed in own)
        result.append(Chunk(names, numbers, np.stack([seeds[seed] for _, seed in filled])))
    return result


def numbered_seeds(config: RunOptions) -> dict[int, np.ndarray]:
    """The raw key of each seed that the options ask for."""
    numbers = range(config.seed, config.seed + config.seeds)
    return dict(zip(numbers, np.asarray(raw_keys(np.array(numbers))), strict=True))


def run_chunk(
    chunk: Chunk,
    training: Training,
    evaluation: Evaluation,
    train: Split,
    test: Split,
    start: tuple[Position, tuple[Any, Any]] | None = None,
) -> Iterator[Moment]:
    """Trains `chunk` to the end of its epochs.

    Args:
        chunk: from `chunks`.
        training, evaluation: of its family.
        train, test: on the devices, by the axis's `put`.
        start: where to go on from, with (state, total) on the host; by default from the beginning.
    """
    axis, numbers = training.axis, training.axis.put(chunk.numbers, by_seed=True)
    if start is None:
        state = training.init(chunk.numbers, chunk.keys)
        position, total = Position(chunk.members), None
    else:
        position, (state, total) = start
        state, total = axis.put((state, total), by_seed=True)
    for segment in segments(training, numbers, state, total, train, position.epoch, position.step):
        mean = jax.tree.map(lambda a, done=segment.done: a / done, to_host(segment.total))
        position = dataclasses.replace(
            position,
            step=segment.done,
            train_seconds=position.train_seconds + segment.seconds,
            epoch_seconds=position.epoch_seconds + segment.seconds,
        )
        rows: tuple[Row, ...] = ()
        if segment.done == training.steps:
            position, columns = _evaluate(evaluation, numbers, segment.state, train, test, position)
            rows = tuple(_rows(chunk, position, mean, columns, training, evaluation))
            position = dataclasses.replace(position, epoch=position.epoch + 1, step=0, epoch_seconds=0.0)
        yield Moment(position, segment.state, segment.total, float(np.mean(mean.loss)), rows)


class Segment(NamedTuple):
    """Some steps of an epoch: how many of it are done, and in which seconds the last ones; see `Training`."""

    done: int
    seconds: float
    state: Any
    total: Any


def segments(
    training: Training, numbers: Any, state: Any, total: Any, train: Split, epoch: int = 0, step: int = 0
) -> Iterator[Segment]:
    """The training from step `step` of epoch `epoch` to its end, in parts of about two seconds.

    Each takes over the arrays of the one before. `total` is None at an epoch's beginning.
    """
    axis, one, pace = training.axis, training.one, 1
    nothing = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), training.total)
    while epoch < len(one.rounds):
        if step == 0:
            total = axis.put(nothing, by_seed=True)
        rounds, span, done = next_segment(one.rounds[epoch], one.rehashes, step, from_first(pace))
        arguments = axis.put((np.int32(epoch * training.steps), rounds, span), by_seed=False)
        start = time.perf_counter()
        state, total = jax.block_until_ready(training.segment(numbers, state, total, train, *arguments))
        seconds = time.perf_counter() - start
        pace = max(1, min(_GROWTH * pace, int(_SEGMENT_SECONDS * (done - step) / seconds)))
        yield Segment(done, seconds, state, total)
        epoch, step = (epoch + 1, 0) if done == training.steps else (epoch, done)


def next_segment(rounds: np.ndarray, rehashes: bool, done: int, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """About `steps` more steps of an epoch, in whole rounds where they rehash.

    Args:
        rounds: `(rounds, 2)`, the epoch's.
        rehashes: as of `Train`.
        done: steps of the epoch already done; where rounds rehash, up to the end of one.
        steps: at least 1.

    Returns:
        The rounds, which of them (from, to before), and the epoch's steps done by then.
    """
    if not rehashes:
        end = min(done + steps, int(rounds[-1, 1]))
        return np.array([[done, end]], np.int32), np.array([0, 1], np.int32), end
    begin = int(np.argmax((rounds[:, 0] >= done) & (rounds[:, 1] > done)))
    end = begin + int(np.searchsorted(rounds[begin:-1, 1], done + steps)) + 1
    return rounds, np.array([begin, end], np.int32), int(rounds[end - 1, 1])


def _evaluate(
    evaluation: Evaluation, numbers: Any, state: Any, train: Split, test: Split, position: Position
) -> tuple[Position, dict[str, np.ndarray]]:
    """Recalibration is charged to the position; the columns are those of `Row`."""
    stats, seconds = state.batch_stats, 0.0
    accuracy = uncalibrated = evaluation.accuracy(numbers, state, stats, test)
    if evaluation.recalibrate is not None:
        start = time.perf_counter()
        stats = jax.block_until_ready(evaluation.recalibrate(numbers, state, train))
        seconds = time.perf_counter() - start
        accuracy = evaluation.accuracy(numbers, state, stats, test)
    columns = {"test_accuracy": accuracy, "test_accuracy_uncalibrated": uncalibrated}
    if evaluation.hashed_accuracy is not None:
        columns["test_accuracy_hashed"] = evaluation.hashed_accuracy(numbers, state, stats, test)
    position = dataclasses.replace(
        position,
        train_seconds=position.train_seconds + seconds,
        recalibrate_seconds=position.recalibrate_seconds + seconds,
    )
    return position, to_host(columns)


def _rows(
    chunk: Chunk,
    position: Position,
    mean: Any,
    columns: dict[str, np.ndarray],
    training: Training,
    evaluation: Evaluation,
) -> Iterator[Row]:
    """Of the epoch that has ended; time is divided evenly among the members."""
    at_once = len(chunk.members)
    for i, (name, seed) in enumerate(chunk.members):
        yield Row(
            method=name,
            seed=seed,
            epoch=position.epoch + 1,
            train_loss=float(mean.loss[i]),
            test_accuracy=float(columns["test_accuracy"][i]),
            test_accuracy_uncalibrated=float(columns["test_accuracy_uncalibrated"][i]),
            test_accuracy_hashed=float(columns["test_accuracy_hashed"][i])
            if "test_accuracy_hashed" in columns
            else None,
            diagnostics={
                layer: {name: float(value[i]) for name, value in values._asdict().items()}
                for layer, values in mean.diagnostics.items()
            },
            train_seconds=position.train_seconds / at_once,
            recalibrate_seconds=position.recalibrate_seconds / at_once,
            step_seconds=position.epoch_seconds / training.steps / at_once,
            compile_seconds=training.compile_seconds + evaluation.compile_seconds,
        )
