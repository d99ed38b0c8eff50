"""The part `wide` of `experiments.bench`: what it hands to peers, and how it compares. No time is looked at."""

import functools
import io
import itertools

import numpy as np
import pytest
from rich.console import Console

from experiments.bench import peer_process, text_race, wide, wide_steps
from experiments.bench.options import Bench
from experiments.bench.race_table import hit_after, seconds_to
from experiments.bench.random_data import random_text
from experiments.seeds import clock
from experiments.words.config import METHODS, WordsConfig
from experiments.words.data import load_data

_CURVE = [{"seconds": s, "hit@10": hit} for s, hit in ((1.0, 0.1), (4.0, 0.3), (16.0, 0.2), (64.0, 0.6))]
_PEER = """
import argparse, json
import numpy as np
parser = argparse.ArgumentParser()
parser.add_argument("--places")
for name in ("--batch-size", "--seed"):
    parser.add_argument(name, type=int)
parser.add_argument("--lr", type=float)
parser.add_argument("--evaluate-at", type=float, nargs="+")
args = parser.parse_args()
places = np.load(args.places)
for seconds in sorted(args.evaluate_at):
    hit = 0.01 if args.lr == 1.0 and args.batch_size == 32 else 0.001 * args.lr
    found = {"hit@10": hit, "hit@1": 0, "nll": args.seed}
    print(json.dumps({"seconds": seconds, "steps": int(places["classes"]), **found}))
"""


@pytest.fixture
def text(tmp_path):
    """A file of 60 lines of words; no line is the same as the one before."""
    words = [f"word{letter}" for letter in "abcdefghijkl"]
    lines = [" ".join(itertools.islice(itertools.cycle(words), n % 7, n % 7 + 6)) for n in range(60)]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines))
    return path


def test_seconds_and_hits_are_read_off_a_curve():
    """Between evaluations hit@10 goes with the logarithm of the seconds."""
    assert hit_after(_CURVE, 2) == pytest.approx(0.2) and hit_after(_CURVE, 100) == 0.6
    assert seconds_to(_CURVE, 0.2) == pytest.approx(2)
    assert seconds_to(_CURVE, 0.4) == pytest.approx(32)
    assert seconds_to(_CURVE, 0.05) == 1 and seconds_to(_CURVE, 0.3) == 4 and seconds_to(_CURVE, 0.7) is None


def test_peers_get_the_places_of_the_text(text, tmp_path):
    """Against a loop over the words of each line."""
    config = WordsConfig(text=text, window=2, subsample=0, held_out_every=10, steps=16)
    data = load_data(config)
    text_race.write_places(tmp_path / "places.npz", data, config.window)
    places = np.load(tmp_path / "places.npz")
    tokens, lines = (np.asarray(a)[2:-2] for a in data.train)
    for i in range(len(tokens)):
        near = [
            tokens[j] if 0 <= j < len(tokens) and lines[j] == lines[i] else -1 for j in (i - 2, i - 1, i + 1, i + 2)
        ]
        assert places["train_contexts"][i].tolist() == near
    assert places["train_labels"].tolist() == tokens.tolist() and places["classes"] == 12
    assert places["held_out_contexts"].tolist() == data.test.contexts.tolist()
    assert places["held_out_labels"].tolist() == data.test.labels.tolist()


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A program in the place of TensorFlow's."""
    monkeypatch.setattr(peer_process, "_PEERS", tmp_path)
    monkeypatch.setattr(text_race, "has", lambda python, library: library == "tensorflow")
    small = functools.partial(WordsConfig, candidates=(8,), features=4, subsample=0.0, held_out_every=10)
    monkeypatch.setattr(text_race, "WordsConfig", small)
    (tmp_path / "tf_words.py").write_text(_PEER)


def test_the_part_measures_what_it_shows(text, peer, monkeypatch, tmp_path):
    """On a small text: steps, their memory, and a race."""
    few = {name: METHODS[name] for name in ("exact", "sampled")}
    monkeypatch.setattr(wide_steps, "METHODS", few)
    monkeypatch.setattr(text_race, "_OURS", {name: {"methods": (name,)} for name in few})
    monkeypatch.setattr(wide_steps, "has", lambda python, library: False)
    monkeypatch.setattr(wide_steps, "_CLASSES", 50)
    monkeypatch.setattr(clock, "_TRIAL_SECONDS", 0.01)
    options = Bench(classes=(30,), batch_sizes=(2,), rounds=1, text=text, seconds=0.05, text_seeds=1, out=tmp_path)
    results = wide.measure(options)
    measured = results["wide_steps"]["30 2"]
    assert measured["seconds"].keys() == measured["megabytes"].keys() == few.keys()
    assert results["wide_temporaries"].keys() == few.keys()
    race = results["wide_race"]
    assert race["curves"].keys() == {*few, "tensorflow sampled"}
    assert [len(curve) for (curve,) in race["curves"].values()] == [12] * 3
    for name in few:
        (curve,) = race["curves"][name]
        assert all(0 <= point["hit@1"] <= point["hit@10"] <= 1 for point in curve)
        assert np.all(np.diff([point["seconds"] for point in curve]) > 0)
    console = Console(width=120, file=io.StringIO())
    wide.show(options, results, console)
    assert all(word in console.file.getvalue() for word in ("30", "tensorflow sampled", "SLIDE", "MB of temporaries"))
    assert (tmp_path / "wide.png").read_bytes().startswith(b"\x89PNG")


def test_each_contender_keeps_its_best_setting(text, peer, monkeypatch):
    """The peer does best at a rate of 1 and batches of 32, from whatever seed."""
    monkeypatch.setattr(text_race, "_OURS", {})
    race = text_race.measure_race(Bench(text=text, seconds=8, text_seeds=2, tune_seconds=1))["wide_race"]
    assert race["settings"] == {"tensorflow sampled": {"batch_size": 32, "lr": 1.0}}
    assert len(race["tuning"]["tensorflow sampled"]) == 5
    curves = race["curves"]["tensorflow sampled"]
    assert [[point["nll"] for point in curve] for curve in curves] == [[0] * 12, [1] * 12], "the seeds"
    assert curves[0][0]["seconds"] == pytest.approx(8 / 256) and curves[0][-1]["seconds"] == 8


def test_random_text_has_its_classes():
    data = random_text(1000)
    tokens = np.asarray(data.train.tokens)
    assert len(data.vocabulary) == len(data.frequencies) == 1000
    assert tokens.min() == 0 and 900 < tokens.max() < 1000 and np.bincount(tokens).argmax() == 0
