"""Trains the variants, one after another."""

import dataclasses
import functools
import sys

from experiments.cifar.config import Config
from experiments.cifar.learner import FASTER_AT_ONCE, cnn_learner
from experiments.collapse.options import Collapse
from experiments.collapse.report import cells, write_report
from experiments.collapse.results import Results
from experiments.collapse.variants import TRAININGS, VARIANTS
from experiments.data import load
from experiments.data.dataset import first_images
from experiments.process.markdown import row
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.settings import families
from experiments.seeds.train_family import train_family
from experiments.training.task import Task


def train_variants(options: Collapse) -> int:
    """Writes the results after each variant, and returns the exit code.

    Raises:
        UsageError: if the data can't be had, or `--out` holds results of other settings or can't be written.
        OutputError: if results can no longer be written.
    """
    data = first_images(load(options.data, options.data_dir), options.images)
    settings = {**options.shared, "blocks": list(options.blocks), "images": len(data.train.labels)}
    results = Results(options.out, settings)
    names = options.variants or [name for name in VARIANTS if name not in results.names]
    if not names:
        write_report(results, options.out)  # the call that trained the last one may have ended before it did
        print(f"{options.out} has all variants: --variants trains some again")
    methods = {name: TRAININGS[VARIANTS[name].training] for name in names}
    make_learner = functools.partial(cnn_learner, data=data)
    task = Task("", "", data, methods, make_learner, faster_at_once=FASTER_AT_ONCE)
    try:
        for name in names:
            config = variant_config(name, options)
            (family,) = families(config, {name: methods[name]})
            rows = train_family(family, numbered_seeds(config), task)
            results.add(name, [dataclasses.asdict(one) for one in rows if one.epoch == config.epochs])
            write_report(results, options.out)
            print(row(cells(results, name)), flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: the variants done are kept in {options.out}", file=sys.stderr)
        return 130
    return 0


def variant_config(name: str, options: Collapse) -> Config:
    """The options of the variant's training."""
    variant = VARIANTS[name]
    return Config(
        **options.shared,
        **variant.settings,
        batch_size=variant.batch_size,
        lrs=(Config.lrs[0] * variant.batch_size / Config.batch_size,),
    )
