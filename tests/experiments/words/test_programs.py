"""`experiments.words`, run as a user runs it."""

import json
import os
import signal
import time

import pytest
from forked import assert_usage_errors
from run_rows import rows_of
from small_text import small_lines

MODULE = "experiments.words"
METHODS = ("exact", "sampled", "hashed")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Options of a run on a small text."""
    text = tmp_path_factory.mktemp("text") / "small.txt"
    text.write_text("\n".join(small_lines()), encoding="utf-8")
    network = ("--text", str(text), "--features", "4", "--window", "2", "--batch-size", "16", "--subsample", "0")
    layers = ("--candidates", "8", "--queries", "2", "--num-bits", "2", "--rehash-every", "7")
    return (*network, *layers, "--evaluations", "4", "--seed-axis", "map")


@pytest.fixture(scope="module")
def finished(forked, tiny, tmp_path_factory):
    """A run of all methods over two seeds and two learning rates, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "all"
    program = forked.run(MODULE, *tiny, "--steps", "200", "--seeds", "2", "--lr", "0.1", "0.3", "--out", str(out))
    assert program.returncode == 0, program.output
    return out, program.output


def test_run_writes_everything(finished):
    """Rows of every setting, seed and evaluation, config, summary and figure; what is learned shows."""
    out, printed = finished
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    settings = [f"{method} lr {lr}" for method in METHODS for lr in (0.1, 0.3)]
    assert [(r["method"], r["seed"], r["epoch"]) for r in rows] == [
        (name, seed, e) for name in settings for seed in (0, 1) for e in (1, 2, 3, 4)
    ]
    assert [row["steps"] for row in rows[:4]] == [1, 5, 31, 200]
    assert all(0 <= row["hit_at_1"] <= row["hit_at_10"] <= 1 and row["test_loss"] > 0 for row in rows)
    assert all((row["hash_recall"] is not None) == row["method"].startswith("hashed") for row in rows)
    # Ten of 50 words are of a place's topic: 10 and 20 % by chance, all of them and 10 % with the topic known.
    assert all(row["hit_at_10"] > 0.7 for row in rows[3::4])
    config = json.loads((out / "config.json").read_text())
    assert config["config"]["steps"] == 200 and config["command"].startswith("python -m experiments.words --text")
    assert (out / "hit_at_10.png").read_bytes().startswith(b"\x89PNG")
    summary = (out / "summary.md").read_text()
    assert "# Words in context, 50 words of small.txt, 200 steps" in summary and "FLOPs" not in summary
    assert "±" in summary and "## Seconds to the hit@10 that exact lr 0.1 ended with" in summary
    assert "sampled lr 0.3 seed 1 step 200: loss" in printed and "hit@10" in printed


def test_seconds_become_steps_that_can_be_asked_for(forked, tiny, finished, tmp_path):
    """plans.json has the steps; resumed and finished, and asked for, they give the same rows."""
    own = (*tiny, "--methods", "sampled")
    timed, counted = tmp_path / "timed", tmp_path / "counted"
    program = forked.run(MODULE, *own, "--seconds", "0.2", "--out", str(timed))
    assert program.returncode == 0, program.output
    plan, _ = json.loads((timed / "plans.json").read_text())["sampled"]
    rows = rows_of(timed)
    assert rows[-1]["steps"] == plan["steps"] >= 4 and "0.2 s" in (timed / "summary.md").read_text()
    (timed / "metrics.jsonl").write_bytes((timed / "metrics.jsonl").read_bytes()[:-9])  # as a crash may leave it
    assert forked.run(MODULE, "--resume", str(timed)).returncode == 0
    assert forked.run(MODULE, *own, "--steps", str(plan["steps"]), "--out", str(counted)).returncode == 0
    assert rows_of(timed) == rows_of(counted) == rows


def test_stopped_runs_go_on(forked, tiny, tmp_path):
    """A signal saves in the middle, tables too; the rows in the end are those of an undisturbed run."""
    own = (*tiny, "--methods", "hashed", "--steps", "12000", "--keep-hits", "3")
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "run"
    assert forked.run(MODULE, *own, "--out", str(undisturbed)).returncode == 0
    assert not list((undisturbed / "checkpoints").iterdir())  # none was due
    program = forked.start(MODULE, *own, "--out", str(out))
    deadline = time.monotonic() + 100
    while len(rows_of(out)) < 3:
        assert time.monotonic() < deadline, program.output
        time.sleep(0.01)
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait(60) == 143, program.output
    assert len(rows_of(out)) == 3 and len(list((out / "checkpoints").iterdir())) == 1
    assert forked.run(MODULE, "--resume", str(out)).returncode == 0
    assert rows_of(out) == rows_of(undisturbed)


def test_bad_flags(forked, tiny, tmp_path):
    """One line that names the flag, exit code 2, and nothing written."""
    latin, short = tmp_path / "latin.txt", tmp_path / "short.txt"
    latin.write_bytes("café\n".encode("latin-1"))
    short.write_text("a b a b a b\n")
    bad = (
        ("--text", str(tmp_path / "none")),
        ("--text", str(latin)),
        ("--text", str(short)),
        ("--min-count", "100000"),
        ("--candidates", "51"),
        ("--candidates", "0"),
        ("--candidates", "8", "8"),
        ("--proposal", "magic"),
        ("--batch-size", "0"),
        ("--queries", "17"),
        ("--per-bucket", "51"),
        ("--num-bits", "31"),
        ("--correct-labels",),
        ("--held-out-every", "1"),
        ("--steps", "3"),
        ("--seconds", "0"),
        ("--subsample", "nan"),
        ("--text", "None", "--preset", "dictionaries"),
        ("--out", "/proc/nowhere"),
    )
    commands = []
    for flag, *values in bad:
        rest = list(tiny)
        if flag in rest:
            del rest[(at := rest.index(flag)) : at + 2]
        commands.append((MODULE, flag, *values, *rest))
    assert_usage_errors(forked, tmp_path, *commands)
