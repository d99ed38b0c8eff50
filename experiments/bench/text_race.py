"""Words in context on a text: what each method of `experiments.words`, and each peer, learns in the same seconds."""

import dataclasses
import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from experiments.bench.options import Bench
from experiments.bench.peer_process import has, run_peer
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.settings import families
from experiments.seeds.train_family import train_family
from experiments.training.task import Task, chosen_methods, notes_of
from experiments.words.config import METHODS, WordsConfig
from experiments.words.data import WordsData
from experiments.words.learner import make_task
from experiments.words.places import Places, Stretch, place_count, places_at

_EVALUATIONS = 12
_FIRST = 1 / 256  # of the seconds: the first evaluation; the others in geometric progression
_BATCHES, _RATES = (128, 32, 512), (0.3, 0.1, 1.0)
_OURS: dict[str, dict[str, Any]] = {
    **{name: {"methods": (name,)} for name in METHODS},
    "sampled, 256 by frequency": {"methods": ("sampled",), "candidates": (256,), "proposals": ("frequency",)},
}
"""Our contenders, by the options in which they differ from the defaults of `experiments.words`."""


class Setting(NamedTuple):
    """What is chosen for each contender by itself."""

    batch_size: int
    lr: float


_FIRST_SETTING = Setting(_BATCHES[0], _RATES[0])


class Contender(Protocol):
    """Trains once, and returns what each evaluation found, with the training seconds until it; the last at the end."""

    def __call__(self, setting: Setting, seed: int, evaluations: int = _EVALUATIONS) -> list[dict[str, float]]: ...


def measure_race(options: Bench) -> dict[str, Any]:
    """Trains every contender in turn, seed by seed.

    With `options.tune_seconds` each is first trained so long from a seed that is not among the others: with several
    learning rates, and with the best of them at other batch sizes. It keeps what has the highest hit@10 at the end.
    """
    config = WordsConfig(text=options.text, seconds=options.seconds)
    task = make_task(config)
    data = cast(WordsData, task.data)
    with tempfile.TemporaryDirectory() as directory:
        places = Path(directory) / "places.npz"
        write_places(places, data, config.window)
        tuning: dict[str, list[tuple[Setting, float]]] = {}
        if options.tune_seconds is not None:
            trials = _contenders(options, config, task, places, options.tune_seconds)
            tuning = {name: _tune(contender, options) for name, contender in trials.items()}
        contenders = _contenders(options, config, task, places, options.seconds)
        chosen = {name: _best(tuning[name]) if name in tuning else _FIRST_SETTING for name in contenders}
        curves: dict[str, list[Any]] = {name: [] for name in contenders}
        for seed in range(options.text_seeds):
            for name, contender in contenders.items():
                curves[name].append(contender(chosen[name], seed))
    count = place_count(data.train, config.window)
    race = {
        "title": task.title,
        "notes": notes_of(
            config, f"{count} places to train on, {len(data.test.labels)} held out; row-wise Adagrad, peers Adagrad."
        ),
        "seconds": options.seconds,
        "settings": {name: setting._asdict() for name, setting in chosen.items()},
        "tuning": {name: [(setting._asdict(), hit) for setting, hit in tried] for name, tried in tuning.items()},
        "curves": curves,
    }
    return {"wide_race": race}


def write_places(path: Path, data: WordsData, window: int) -> None:
    """Writes the places of a text for the peers: an .npz of `classes`, and contexts and labels of both parts."""
    train = Stretch(*map(np.asarray, data.train))
    parts = {
        "train": places_at(train, np.arange(place_count(train, window), dtype=np.int32), window),
        "held_out": Places(*map(np.asarray, data.test)),
    }
    arrays = {f"{part}_{name}": a for part, places in parts.items() for name, a in places._asdict().items()}
    np.savez(path, classes=len(data.vocabulary), **arrays)


def _contenders(options: Bench, config: WordsConfig, task: Task, places: Path, seconds: float) -> dict[str, Contender]:
    """The methods of `experiments.words`, and the peers that there are interpreters for."""
    words = len(cast(WordsData, task.data).vocabulary)
    found: dict[str, Contender] = {}
    for name, chosen in _OURS.items():
        own = dataclasses.replace(config, **chosen, seconds=seconds)
        own = dataclasses.replace(own, candidates=(min(words, *own.candidates),))
        found[name] = functools.partial(_train_ours, own, task)
    peer = functools.partial(_train_peer, seconds, places)
    if has(options.torch_python, "torch"):
        for method in ("full", "adaptive"):
            found[f"torch {method}"] = functools.partial(
                peer, "--torch-python", options.torch_python, "torch_words", {"method": method}
            )
    if has(options.tf_python, "tensorflow"):
        found["tensorflow sampled"] = functools.partial(peer, "--tf-python", options.tf_python, "tf_words", {})
    return found


def _train_ours(
    config: WordsConfig, task: Task, setting: Setting, seed: int, evaluations: int = _EVALUATIONS
) -> list[dict[str, float]]:
    config = dataclasses.replace(config, batch_sizes=(setting.batch_size,), lrs=(setting.lr,))
    config = dataclasses.replace(config, seed=seed, evaluations=evaluations)
    (family,) = families(config, chosen_methods(config))
    return [
        {
            "seconds": row.train_seconds,
            "steps": row.steps,
            "hit@1": row.hit_at_1,
            "hit@10": row.hit_at_10,
            "nll": row.test_loss,
        }
        for row in train_family(family, numbered_seeds(config), task)
    ]


def _train_peer(
    seconds: float,
    places: Path,
    flag: str,
    python: Path,
    program: str,
    chosen: Mapping[str, str],
    setting: Setting,
    seed: int,
    evaluations: int = _EVALUATIONS,
) -> list[dict[str, float]]:
    evaluate_at = np.geomspace(seconds, _FIRST * seconds, evaluations).tolist()
    options = {**chosen, **setting._asdict(), "seed": seed, "places": places, "evaluate_at": evaluate_at}
    return run_peer(flag, python, program, **options)


def _tune(contender: Contender, options: Bench) -> list[tuple[Setting, float]]:
    """Settings, and the hit@10 that each has at the end."""

    def tried(setting: Setting) -> tuple[Setting, float]:
        return setting, contender(setting, options.text_seeds, evaluations=1)[-1]["hit@10"]

    rates = [tried(_FIRST_SETTING._replace(lr=rate)) for rate in _RATES]
    return rates + [tried(_best(rates)._replace(batch_size=batch)) for batch in _BATCHES[1:]]


def _best(tried: list[tuple[Setting, float]]) -> Setting:
    return max(tried, key=lambda one: one[1])[0]
