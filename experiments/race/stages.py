"""A race from its beginning to its last run: each stage goes on where it was left."""

import os

import jax

from experiments.process.environment import environment
from experiments.process.exits import make_output_directory
from experiments.race.calibrate import calibrate
from experiments.race.clock import Clock
from experiments.race.config import Race
from experiments.race.contest import Contest, batch_sizes
from experiments.race.predict import predict
from experiments.race.record import Record
from experiments.race.runs import run_all
from experiments.race.tasks import TASKS
from experiments.race.tune import tune


def race(name: str, options: Race) -> None:
    """Calibrates, tunes, predicts and races a task's arms.

    Raises:
        UsageError: if a budget is shorter than a step, data can't be had, or `--out` holds a race of other settings.
        OutputError: if results can no longer be written.
    """
    task, path = TASKS[name], options.out / name
    make_output_directory(path)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # a program is compiled again for another state or seed
        jax.config.update("jax_compilation_cache_dir", str(options.out / "programs"))
    contest = Contest(name, options, held_out=False)
    record, seconds, budgets = Record(path), options.tune_seconds_of(name), options.budgets_of(name)
    read = {option: getattr(options, option) for option in task.reads if option != "data_dir"}
    record.begin(
        {"options": {**task.options, **read}, "rates": task.rates, "tune_seconds": seconds},
        title=contest.task.title,
        measure=contest.measure.title,
        environment=environment(),
    )
    print(f"{contest.task.title}: {', '.join(contest.arms)}; calibrating", flush=True)
    calibrate(contest, record, options.rounds)
    clock = Clock(contest.arms, record)
    for arm in contest.arms:
        for size in batch_sizes(contest.arms, arm):
            clock.steps(arm, size, min(seconds, budgets[0]))
    if options.until == "calibrate":
        return
    trials = Contest(name, options, held_out=True)
    chosen = tune(trials, record, clock, task.rates, seconds)
    if options.until == "tune":
        return
    predict(trials, record, clock, chosen, seconds)
    if options.until == "run":
        run_all(contest, record, clock, chosen, budgets, options.seeds)
