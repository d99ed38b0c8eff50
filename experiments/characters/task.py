"""A transformer on the characters of a text, as a task."""

import functools

from experiments.characters.config import CharactersConfig
from experiments.characters.data import CharactersData, load_data
from experiments.characters.learner import characters_learner
from experiments.characters.pretraining import pretrained_params
from experiments.process.checks import listed
from experiments.runs.timed_report import report
from experiments.training.task import Task, chosen_methods, notes_of


def make_task(config: CharactersConfig) -> Task[CharactersData]:
    """A transformer on the characters of the text, trained on another one first where the options say so.

    Raises:
        UsageError: if a text, or the file of pretrained parameters, can't be used.
        OutputError: if that file can't be written.
    """
    data, first = load_data(config)
    start = None if first is None else pretrained_params(config, first)
    before = "" if first is None else f" Trained exactly on {first.name} for {config.pretrain_steps} steps before."
    notes = notes_of(
        config,
        f"{data.train.size} characters to train on, {data.test.shape[0]} windows of {config.window} held out;"
        f" {config.blocks} blocks of {config.features}, {config.heads} heads, batch size {listed(config.batch_sizes)},"
        f" AdamW, learning rate {listed(config.lrs)}, {config.schedule}.{before}",
    )
    title = f"Transformer on {len(data.vocabulary)} characters of {data.name}"
    make_learner = functools.partial(characters_learner, data=data, start=start)
    return Task(title, notes, data, chosen_methods(config), make_learner, report)
