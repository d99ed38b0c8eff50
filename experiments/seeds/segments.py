"""Trains a chunk of seeds in short segments, so that it can be watched, stopped and saved between them.

A segment is some consecutive steps of an epoch that run in one call.
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data.dataset import Split
from experiments.process.distributed import from_first, to_host
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import CompiledEvaluation, CompiledTraining, seed_key_data
from experiments.seeds.settings import Family
from experiments.training.options import RunOptions

_SEGMENT_SECONDS = 2.0  # a signal waits as long
_GROWTH = 8  # of a segment's steps over those of the one before


@dataclasses.dataclass(frozen=True)
class Row:
    """One epoch of one seed: a line of metrics.jsonl.

    Seconds are cumulative over the run's epochs, and leave compilation out.
    """

    method: str  # the name of the setting: the method's, with the values of the options that have several
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
        if progress.done == training.steps:
            accuracies, seconds = _evaluate(evaluation, hyperparameters, progress.state, train, test)
            position = dataclasses.replace(
                position,
                train_seconds=position.train_seconds + seconds,
                recalibrate_seconds=position.recalibrate_seconds + seconds,
            )
            compile_seconds = training.compile_seconds + evaluation.compile_seconds
            rows = tuple(_rows(position, mean, accuracies, training.steps, compile_seconds))
            position = dataclasses.replace(position, epoch=position.epoch + 1, step=0, epoch_seconds=0.0)
        yield Moment(position, progress.state, progress.total, float(np.mean(mean.loss)), rows)


class Progress(NamedTuple):
    """What a segment has come to.

    Attributes:
        done: steps of the epoch that are done.
        seconds: that the segment took.
        state, total: on the devices; see `CompiledTraining`.
    """

    done: int
    seconds: float
    state: Any
    total: Any


def train_segments(
    training: CompiledTraining,
    hyperparameters: Any,
    state: Any,
    total: Any,
    train: Split,
    epoch: int = 0,
    step: int = 0,
) -> Iterator[Progress]:
    """Trains from step `step` of epoch `epoch` to the end, in segments of about two seconds.

    The arrays of each are donated to the next. `total` is None at an epoch's beginning.
    """
    axis, one, pace = training.axis, training.one, 1
    zero_metrics = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), training.total)
    rehashes = one.learner.rehash is not None
    while epoch < len(one.rounds):
        if step == 0:
            total = axis.put(zero_metrics, by_seed=True)
        rounds, span, done = next_segment(one.rounds[epoch], rehashes, step, from_first(pace))
        arguments = axis.put((np.int32(epoch * training.steps), rounds, span), by_seed=False)
        start = time.perf_counter()
        state, total = jax.block_until_ready(training.segment(hyperparameters, state, total, train, *arguments))
        seconds = time.perf_counter() - start
        pace = max(1, min(_GROWTH * pace, int(_SEGMENT_SECONDS * (done - step) / seconds)))
        yield Progress(done, seconds, state, total)
        epoch, step = (epoch + 1, 0) if done == training.steps else (epoch, done)


def next_segment(rounds: np.ndarray, rehashes: bool, done: int, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The bounds of a segment: about `steps` more steps of an epoch, in whole rounds where they rehash.

    Args:
        rounds: `(rounds, 2)`, the epoch's.
        rehashes: whether a round rehashes as it begins.
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
    evaluation: CompiledEvaluation, hyperparameters: Any, state: Any, train: Split, test: Split
) -> tuple[dict[str, np.ndarray], float]:
    """The columns of `Row` that are accuracies, `(members,)` each, and the seconds of recalibration."""
    stats, seconds, uncalibrated = state.batch_stats, 0.0, None
    exact = evaluation.accuracies["test_accuracy"]
    if evaluation.recalibrate is not None:
        uncalibrated = exact(hyperparameters, state, stats, test)
        start = time.perf_counter()
        stats = jax.block_until_ready(evaluation.recalibrate(hyperparameters, state, train))
        seconds = time.perf_counter() - start
    columns = {name: accuracy(hyperparameters, state, stats, test) for name, accuracy in evaluation.accuracies.items()}
    columns["test_accuracy_uncalibrated"] = columns["test_accuracy"] if uncalibrated is None else uncalibrated
    return to_host(columns), seconds


def _rows(
    position: Position, mean: Any, accuracies: dict[str, np.ndarray], steps: int, compile_seconds: float
) -> Iterator[Row]:
    """The rows of the epoch that has ended; time is divided evenly among the members."""
    at_once = len(position.members)
    for i, (name, seed) in enumerate(position.members):
        columns: dict[str, Any] = {column: float(values[i]) for column, values in accuracies.items()}
        yield Row(
            method=name,
            seed=seed,
            epoch=position.epoch + 1,
            train_loss=float(mean.loss[i]),
            **{"test_accuracy_hashed": None, **columns},
            diagnostics={
                layer: {name: float(value[i]) for name, value in values._asdict().items()}
                for layer, values in mean.diagnostics.items()
            },
            train_seconds=position.train_seconds / at_once,
            recalibrate_seconds=position.recalibrate_seconds / at_once,
            step_seconds=position.epoch_seconds / steps / at_once,
            compile_seconds=compile_seconds,
        )
