"""Trains several methods on the same data and seeds, one after another, into a run directory."""

import sys
from collections.abc import Callable, Sequence

from experiments.config import RunOptions
from experiments.data import Dataset
from experiments.display import Display
from experiments.interrupt import interruptible
from experiments.report import RunDirectory, device_line
from experiments.runner import compile_method, run_method
from experiments.train import Learner, report_every, steps_per_epoch


def compare(
    config: RunOptions,
    title: str,
    notes: str,
    data: Dataset,
    methods: Sequence[str],
    learner_of: Callable[[str], Learner],
    sections: Sequence[str] = (),
) -> tuple[int, RunDirectory]:
    """Trains by each of `methods`, shows the progress and writes the run directory.

    Args:
        config: resolved.
        title: what is trained on which data.
        notes: what else the summary must say of the settings.
        data: loaded.
        methods: by name; the first is the one others are relative to.
        learner_of: makes a method's learner.
        sections: lines to end the summary with.

    Returns:
        The exit code (130 where Ctrl-C ended it: what was done by then is kept) and the directory.

    Raises:
        UsageError: if a batch is larger than the data or `--out` can't be written, before anything is trained.
    """
    steps = config.seeds * config.epochs * steps_per_epoch(config, data)
    directory = RunDirectory(config)
    display = Display()
    display.header(f"{title}: {', '.join(methods)} -> {directory.path}")
    flops: dict[str, float] = {}
    exit_code = 0
    try:
        with interruptible():
            for name in methods:
                display.compiling(name)
                programs = compile_method(config, learner_of(name), data, display.on_step)
                flops[name] = programs.flops_per_step
                display.start(name, steps, config.batch_size, report_every(config))
                for row in run_method(config, name, data, programs):
                    directory.add(row)
                    display.add(row)
                display.stop()
    except KeyboardInterrupt:
        display.stop()
        print(f"interrupted: {len(directory.rows)} epochs are kept in {directory.path}", file=sys.stderr)
        exit_code = 130
    where = "a held-out tenth of the training set" if config.validation else "the test set"
    heading = (
        f"# {title}, {config.epochs} epochs",
        "",
        f"{device_line()}. {notes}",
        f"Accuracy (%) on {where}, mean ± standard deviation over seeds; training seconds leave out compilation.",
    )
    display.table(directory.finish(heading, flops, sections))
    return exit_code, directory
