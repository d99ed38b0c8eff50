"""The programs, run as a user runs them: as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import quick_compilation
from forked import ROOT, assert_usage_error, assert_usage_errors

TINY = (
    *("--preset", "quick", "--images", "480", "--width", "2", "--blocks", "1", "1", "--epochs", "2"),
    *("--seed-axis", "map"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A small run of all methods over two seeds, forward-sampled so that statistics are re-estimated.

    Started as from a shell; the other programs here are forked.
    """
    out = tmp_path_factory.mktemp("runs") / "tiny"
    mc = ("--methods", "exact", "mc", "alsh", "--mode", "forward", "--seeds", "2", "--seed", "3")
    process = subprocess.run(
        [sys.executable, "-m", "experiments.cifar", *TINY, *mc, "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, **quick_compilation.ENVIRONMENT, "XLA_FLAGS": quick_compilation.LEVEL_0, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return process, out


def test_run_writes_everything(finished):
    """The run directory holds config, one row per method, seed and epoch, the summary and both plots."""
    process, out = finished
    assert process.returncode == 0, process.stderr
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    keys = [(row["method"], row["seed"], row["epoch"]) for row in rows]
    assert keys == [(m, s, e) for m in ("exact", "mc", "alsh") for s in (3, 4) for e in (1, 2)]
    needed = {"method", "seed", "epoch", "train_loss", "test_accuracy", "train_seconds", "compile_seconds"}
    assert all(needed <= row.keys() and 0 <= row["test_accuracy"] <= 1 and row["train_loss"] > 0 for row in rows)
    assert all(b["train_seconds"] > a["train_seconds"] for a, b in zip(rows[::2], rows[1::2], strict=True))
    config = json.loads((out / "config.json").read_text())
    assert config["config"]["width"] == 2 and config["versions"]["jax"] and config["device"]
    assert config["command"].startswith("python -m experiments.cifar --preset quick --images 480 ")
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("accuracy.png", "time.png"))


def test_recalibration_is_charged_and_reported(finished):
    """Only the forward-sampled method re-estimates its statistics, and pays for it."""
    _, out = finished
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    exact, sampled = ([r for r in rows if r["method"] == m] for m in ("exact", "mc"))
    assert all(r["recalibrate_seconds"] == 0 and r["test_accuracy"] == r["test_accuracy_uncalibrated"] for r in exact)
    assert all(0 < r["recalibrate_seconds"] < r["train_seconds"] for r in sampled)
    assert any(r["test_accuracy"] != r["test_accuracy_uncalibrated"] for r in sampled)


def test_hashed_method_reports_its_hash(finished):
    """Accuracy through the hash and diagnostics, of the method that hashes and of no other."""
    _, out = finished
    for row in (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()):
        hashes = row["method"] == "alsh"
        assert (row["test_accuracy_hashed"] is not None) == hashes
        assert set(row["diagnostics"]) == ({"hidden"} if hashes else set())
        if hashes:
            assert 50 <= row["diagnostics"]["hidden"]["active_units"] <= 1000
            assert all(0 <= row["diagnostics"]["hidden"][name] <= 1 for name in ("recall", "drift", "random_fill"))


def test_summary_and_screen(finished):
    """Summary and screen name each method with mean ± deviation; mc needs fewer FLOPs than exact."""
    process, out = finished
    lines = [line for line in (out / "summary.md").read_text().splitlines() if line.startswith(("| exact |", "| mc |"))]
    exact, mc = ([cell.strip() for cell in line.split("|")] for line in lines[:2])
    assert "±" in exact[3] and "±" in mc[3]
    assert "| alsh | hidden | 2 |" in (out / "summary.md").read_text()
    assert "Samplers and modes" not in (out / "summary.md").read_text()  # which was recorded on other data
    assert float(exact[-2]) == 1 and 0.3 < float(mc[-2]) < 0.95
    assert "FLOPs / exact" in process.stdout and "jax" in process.stdout and "cpu" in process.stdout


def test_a_run_is_never_overwritten(forked, finished):
    """A second run into the same directory stops in one line and changes nothing."""
    _, out = finished
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert_usage_error(forked.run("experiments.cifar", *TINY, "--out", str(out)), "--out")
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_bad_flags(forked, tmp_path):
    """Bad values are refused before anything is trained, by the flag's name."""
    bad = (
        ("--ratio", "0"),
        ("--ratio", "1.5"),
        ("--ratio", "nan"),
        ("--epochs", "0"),
        ("--active", "0"),
        ("--num-bits", "31"),
        ("--num-tables", "0"),
        ("--rehash-every", "-1"),
        ("--seeds", "-1"),
        ("--seeds", "0"),
        ("--seeds-at-once", "-1"),
        ("--mesh", "0", "1"),
        ("--checkpoint-minutes", "0"),
        ("--coordinator", "localhost:1"),
        ("--process-id", "2", "--num-processes", "2", "--coordinator", "localhost:1"),
        ("--ratio", "0.5", "0.5"),
        ("--lr", "-0.1"),
        ("--width", "x"),
        ("--blocks", "0"),
        ("--batch-size", "100000"),
        ("--methods", "magic"),
        ("--sampler", "magic"),
        ("--out", "/proc/nowhere"),
    )
    assert_usage_errors(forked, tmp_path, *(("experiments.cifar", *flag, "--preset", "quick") for flag in bad))


def test_missing_and_damaged_data(forked, tmp_path):
    """Data that is neither prepared nor downloadable, or damaged: one line with the cause and the way out."""
    offline = {
        "TFDS_DATA_DIR": str(tmp_path / "none"),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    small = ("--width", "2", "--epochs", "1")
    assert_usage_error(forked.run("experiments.cifar", *small, **offline), "cifar10", "--preset quick")
    damaged = tmp_path / "mnist" / "3.0.1"
    damaged.mkdir(parents=True)
    (damaged / "dataset_info.json").write_text("{ not json")
    mnist = ("--data", "mnist", *small, "--data-dir", str(tmp_path))
    assert_usage_error(forked.run("experiments.cifar", *mnist, **offline), "mnist", "--preset quick")


def test_choose_takes_one_ratio(forked, tmp_path):
    assert_usage_errors(forked, tmp_path, ("experiments.choose", "--ratio", "0.1", "0.5", "--data", "digits"))
