"""Trains several methods and settings on the same data and seeds, one family after another, into a run directory."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.process.distributed import from_first, is_first, largest, to_host, tree_from_first
from experiments.process.environment import device_line
from experiments.process.interrupt import Signals, Stopped, watched_signals
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDirectory
from experiments.runs.display import Display
from experiments.runs.plots import report_epochs
from experiments.seeds.clock import with_steps
from experiments.seeds.compiled import compile_evaluation, compile_training, step_flops
from experiments.seeds.dry_run import dry_run
from experiments.seeds.planning import Plan, check_mesh, choose_axis, must_shard
from experiments.seeds.segments import Chunk, Moment, Position, chunks, numbered_seeds, run_chunk
from experiments.seeds.settings import Family, families
from experiments.training.options import RunOptions
from experiments.training.task import Task


def compare(config: RunOptions, task: Task, sections: Sequence[str] = ()) -> tuple[int, RunDirectory | None]:
    """Trains by each of the task's methods and settings, shows the progress and writes the run directory.

    Args:
        config: the options.
        task: what is trained on what.
        sections: lines to end the summary with.

    Returns:
        The exit code (130 or 143 where Ctrl-C or SIGTERM ended it: what was done by then is saved; with --compile-for 1
        where something does not fit) and the directory; None for it with --compile-for, which writes nothing, and in
        all processes but the first, which alone writes.

    Raises:
        UsageError: if the options do not fit the data, the devices or the methods, or `--out` can't be written, before
            anything is trained.
        OutputError: if results can no longer be written.
    """
    if config.compile_for is not None:
        return dry_run(config, task), None
    check_fits(config, task)
    chosen = families(config, task.methods)
    recorder = Recorder(config, chosen, f"{task.title}: {', '.join(task.methods)}") if is_first() else None
    exit_code = 0
    with watched_signals() as signals:
        try:
            for family in chosen:
                _train_family(family, task, recorder, signals)
        except Stopped as stopped:
            exit_code = stopped.exit_code
        finally:
            if recorder is not None:
                recorder.display.stop()
    if recorder is None:
        return exit_code, None
    heading = (
        f"# {task.title}, {config.length}",
        "",
        f"{device_line()}. {task.notes}",
        f"{config.measured}, mean ± standard deviation over seeds; training seconds leave out compilation.",
    )
    directory = recorder.directory
    recorder.display.table(directory.finish(heading, sections, task.report or report_epochs))
    if exit_code:
        kept = f"{len(directory.rows)} {config.row.units} are kept in {directory.path}"
        print(f"interrupted: {kept}; --resume {directory.path} goes on", file=sys.stderr)
    return exit_code, directory


def check_fits(config: RunOptions, task: Task) -> None:
    """Raises a UsageError unless the options fit the data, the devices and the methods."""
    chosen = families(config, task.methods)
    if must_shard(config):
        check_mesh(chosen[0])  # the others have as many settings
    for family in chosen:
        task.make_learner(family.example, family.method.layers(family.example))


class Recorder:
    """What process 0 does for all of them: the run directory, its checkpoints and the screen."""

    def __init__(self, config: RunOptions, chosen: Sequence[Family], title: str):
        self.directory = RunDirectory(config)
        self._checkpoints = Checkpoints(self.directory.path / "checkpoints")
        self.display = Display()
        self.display.header(f"{title} -> {self.directory.path}")
        members = [member for family in chosen for member in family.members]
        done = sum(self.directory.has([member], config.epochs) for member in members)
        self.display.start(len(members), done)
        if config.resume is not None:
            self.display.line(f"resumed: {done} of {len(members)} runs are done")

    def begin(self, family: Family, plan: Plan, flops: float | None) -> None:
        """Keeps and shows how a family is going to be trained, and the FLOPs of its step."""
        names = [setting.name for setting in family.settings]
        self.directory.keep_plan(names, plan, flops)
        steps = f", {plan.steps} steps" if plan.steps else ""
        self.display.line(f"{names[0]}: seed axis {plan.kind}, {plan.members} at once ({plan.why}){steps}")

    def restore(self, chunk: Chunk, template: Any) -> tuple[Position, Any] | None:
        """Where to go on with a chunk, or None for its beginning."""
        restored = self._checkpoints.restore(chunk.members, template, warn=self.display.line)
        # Rows that are missing must be trained for again.
        return restored if restored and self.directory.has(chunk.members, restored[0].epoch) else None

    def record(self, moment: Moment, runs: float) -> None:
        """Adds the rows, and shows that so much of a run was done since the last moment."""
        self.directory.add(moment.rows)
        self.display.advance(_described(moment.position), runs, moment.loss)
        self.display.add(moment.rows)

    def save(self, moment: Moment, tree: Any) -> None:
        """Writes a checkpoint of (state, total), on the host."""
        self._checkpoints.save(moment.position, tree)


def _described(position: Position) -> str:
    """Names the chunk on the screen."""
    (first, seed), more = position.members[0], len(position.members) - 1
    return f"{first} seed {seed}{f' and {more} more' if more else ''}"


def _train_family(family: Family, task: Task, recorder: Recorder | None, signals: Signals) -> None:
    """Trains all that is missing of a family."""
    config, name = family.config, family.settings[0].name
    if from_first(bool(recorder and recorder.directory.has(family.members, config.epochs))):
        return
    kept = recorder.directory.plan(name) if recorder else None
    if recorder:
        recorder.display.line(f"{name}: compiling ...")
    family = _planned(kept, family)
    axis, why = choose_axis(family, task)
    training, family = with_steps(compile_training(family, task, axis), family, task)
    evaluation = compile_evaluation(family, task, training)
    if recorder:
        steps = None if config.seconds_to_train is None else int(training.one.learner.feed.steps.sum())
        plan = Plan.of(training.axis, kept.why if kept else why, steps)
        flops = step_flops(training.one, task.data) if training.one.learner.countable else None
        recorder.begin(family, plan, flops)
    train, test = training.axis.put((task.data.train, task.data.test), by_seed=False)
    for chunk in chunks(family, numbered_seeds(config), training.axis):
        if from_first(bool(recorder and recorder.directory.has(chunk.members, config.epochs))):
            continue
        start = _start(chunk, (training.state, training.total), recorder)
        steps_by_epoch = training.one.learner.feed.steps
        done = 0.0 if start is None else _share(start[0], steps_by_epoch)
        saved = time.monotonic()
        for moment in run_chunk(chunk, training, evaluation, train, test, start):
            before, done = done, _share(moment.position, steps_by_epoch)
            if recorder:
                recorder.record(moment, len(chunk.members) * (done - before))
            stop = largest(signals.number)
            due = from_first(time.monotonic() - saved > 60 * config.checkpoint_minutes)
            if (moment.rows and config.saves_every_epoch) or stop or due:
                tree = to_host((moment.state, moment.total))
                if recorder:
                    recorder.save(moment, tree)
                saved = time.monotonic()
            if stop:
                raise Stopped(stop)


def _share(position: Position, steps_by_epoch: np.ndarray) -> float:
    """Which share of all steps is done."""
    return float((steps_by_epoch[: position.epoch].sum() + position.step) / steps_by_epoch.sum())


def _planned(plan: Plan | None, family: Family) -> Family:
    """The family with options that choose the seed axis, and steps, of process 0's plan, if it has one, once more."""
    if not from_first(plan is not None):
        return family
    members, steps = from_first(plan.members if plan else 0), from_first((plan and plan.steps) or 0)
    config = dataclasses.replace(family.config, seeds_at_once=members)
    if plan:
        config = dataclasses.replace(config, seed_axis=plan.kind, mesh=plan.mesh)
    if steps:
        config = config.with_steps(steps)
    return dataclasses.replace(family, config=config)


def _start(chunk: Chunk, template: Any, recorder: Recorder | None) -> tuple[Position, Any] | None:
    """Where all processes go on with a chunk: what process 0 restores."""
    restored = recorder.restore(chunk, template) if recorder else None
    if not from_first(restored is not None):
        return None
    empty = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), template)
    position, tree = restored or (Position(chunk.members), empty)
    epoch, step = from_first(position.epoch), from_first(position.step)
    return dataclasses.replace(position, epoch=epoch, step=step), tree_from_first(tree)
