"""`experiments.characters`, run as a user runs it."""

import json

import pytest
from forked import assert_usage_errors
from run_rows import rows_of

MODULE = "experiments.characters"
METHODS = ("exact", "mc", "kernel", "adaptive")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Options of a run on a small text, in which the next character is always known after the first."""
    text = tmp_path_factory.mktemp("text") / "small.txt"
    text.write_text("abcde\n" * 300, encoding="utf-8")
    network = ("--text", str(text), "--blocks", "1", "--features", "8", "--heads", "2", "--window", "8")
    data = ("--batch-size", "4", "--held-out-every", "4", "--windows", "20", "--lr", "0.02")
    return (*network, *data, "--evaluations", "3", "--measure-every", "10", "--seed-axis", "map")


def test_run_writes_everything(forked, tiny, tmp_path):
    """Rows of every method, seed and evaluation, summary and figure; what is learned shows."""
    out = tmp_path / "run"
    program = forked.run(MODULE, *tiny, "--steps", "120", "--seeds", "2", "--out", str(out))
    assert program.returncode == 0, program.output
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(r["method"], r["seed"], r["steps"]) for r in rows] == [
        (name, seed, steps) for name in METHODS for seed in (0, 1) for steps in (1, 8, 120)
    ]
    assert all(row["test_accuracy"] > 0.9 and 0 < row["test_bits"] < 1 for row in rows[2::3])
    assert all(bool(row["diagnostics"]) == (row["method"] == "adaptive") for row in rows)
    assert (out / "test_accuracy.png").read_bytes().startswith(b"\x89PNG")
    summary = (out / "summary.md").read_text()
    assert "# Transformer on 7 characters of small.txt, 120 steps" in summary and "±" in summary
    assert "measured by 4 gradients every 10 steps (40.0%" in summary
    assert "experiments.characters.control.SampledKernel" in summary and "block_0/attention/query" in summary
    assert "## Seconds to the accuracy that exact ended with" in summary


def test_fine_tuning_goes_on_from_what_was_kept(forked, tiny, tmp_path):
    """A text trained on first helps; the file that keeps it gives the same rows, and serves no other network."""
    first, kept = tmp_path / "first.txt", tmp_path / "kept.npz"
    first.write_text("abcde\n" * 100, encoding="utf-8")
    own = (*tiny, "--methods", "adaptive", "--steps", "30", "--pretrain-text", str(first), "--pretrain-steps", "120")
    own = (*own, "--pretrain-lr", "0.02", "--pretrain-batch-size", "4", "--pretrained", str(kept))
    runs = [tmp_path / name for name in ("made", "read")]
    for out in runs:
        program = forked.run(MODULE, *own, "--out", str(out))
        assert program.returncode == 0, program.output
    made, read = map(rows_of, runs)
    assert made == read and made[0]["test_accuracy"] > 0.9
    assert "Trained exactly on first.txt for 120 steps before." in (runs[0] / "summary.md").read_text()
    other = (option if option != str(kept) else str(first) for option in own)
    assert_usage_errors(
        forked,
        tmp_path,
        (MODULE, "--pretrained", str(kept), "--beta2", "0.5", *own),
        (MODULE, "--pretrained", str(first), *other),
    )


def test_seconds_become_a_schedule_that_ends_with_them(forked, tiny, tmp_path):
    """The steps that plans.json keeps, asked for, give the same rows: also the learning rate follows them."""
    own, timed, counted = (*tiny, "--methods", "exact"), tmp_path / "timed", tmp_path / "counted"
    assert forked.run(MODULE, *own, "--seconds", "0.2", "--out", str(timed)).returncode == 0
    plan, _ = json.loads((timed / "plans.json").read_text())["exact"]
    assert forked.run(MODULE, *own, "--steps", str(plan["steps"]), "--out", str(counted)).returncode == 0
    assert rows_of(timed) == rows_of(counted)


def test_bad_flags(forked, tiny, tmp_path):
    """One line that names the flag, exit code 2, and nothing written."""
    bad = (
        ("--text", str(tmp_path / "none")),
        ("--window", "200"),
        ("--min-count", "100000"),
        ("--heads", "3"),
        ("--features", "7", "--heads", "1"),
        ("--held-out-every", "2"),
        ("--ratio", "0"),
        ("--shares", "0.5", "0.3"),
        ("--shares", "1", "0"),
        ("--budget", "0"),
        ("--batch-size", "3"),
        ("--beta2", "1"),
        ("--weight-decay", "nan"),
        ("--steps", "2"),
        ("--pretrain-steps", "0", "--pretrained", "kept.npz"),
        ("--methods", "magic"),
    )
    commands = []
    for given, *values in bad:
        rest = list(tiny)
        for flag in {given, *(value for value in values if value.startswith("--"))} & {*rest}:
            del rest[(at := rest.index(flag)) : at + 2]
        commands.append((MODULE, given, *values, *rest))
    assert_usage_errors(forked, tmp_path, *commands)
