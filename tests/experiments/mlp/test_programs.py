"""`experiments.mlp`, run as a user runs it."""

import json
import shutil

import numpy as np
from forked import assert_usage_error, assert_usage_errors

METHODS = ("standard", "alsh")
TINY = ("--width", "20", "--epochs", "2", "--seed-axis", "map")


def test_run_writes_everything(forked, tmp_path):
    """A directory for each depth, with rows of every method and seed, and the figures; it is never overwritten."""
    out = tmp_path / "run"
    options = (*TINY, "--images", "60", "--layers", "2", "3", "--seeds", "2", "--methods", *METHODS)
    process = forked.run("experiments.mlp", *options, "--out", str(out))
    assert process.returncode == 0, process.stderr
    figures = [out / "depth.png", out / "layers-2" / "layers-2.png", out / "layers-3" / "figure15.png"]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)
    for layers in (2, 3):
        path = out / f"layers-{layers}"
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        keys = [(row["method"], row["seed"], row["epoch"]) for row in rows]
        assert keys == [(m, s, e) for m in METHODS for s in (0, 1) for e in (1, 2)]
        assert all((row["test_accuracy_hashed"] is not None) == (row["method"] == "alsh") for row in rows)
        assert all(np.isfinite(row["train_loss"]) and row["train_seconds"] > 0 for row in rows)
        assert json.loads((path / "config.json").read_text())["config"]["layers"] == [layers]
        summary = (path / "summary.md").read_text()
        assert f"MLP of {layers} x 20 on Digits" in summary and "60 training images" in summary
        assert "BatchNorm" not in summary
        flops = {line.split()[1]: float(line.split()[-2]) for line in summary.splitlines() if "| 2 |" in line}
        assert flops["standard"] == 1 and flops["alsh"] < 0.6
    before = (out / "layers-2" / "metrics.jsonl").read_bytes()
    shutil.rmtree(out / "layers-3")  # as if it had not come to that
    assert forked.run("experiments.mlp", "--resume", str(out)).returncode == 0
    assert len((out / "layers-3" / "metrics.jsonl").read_text().splitlines()) == len(keys)
    assert_usage_error(forked.run("experiments.mlp", *options, "--out", str(out)), "--out")
    assert (out / "layers-2" / "metrics.jsonl").read_bytes() == before


def test_bad_flags(forked, tmp_path):
    """One line that names the flag, exit code 2, and nothing written."""
    bad = (
        ("--methods", "magic"),
        ("--methods", "alsh", "alsh"),
        ("--data", "magic"),
        ("--active", "1.5"),
        ("--ratio", "0"),
        ("--dropout-rate", "1"),
        ("--keep-capacity", "0"),
        ("--keep-alpha", "inf"),
        ("--layers", "0"),
        ("--width", "0"),
        ("--batch-size", "100000"),
        ("--batch-size", "100000", "--layers", "2", "3"),
        ("--batch-size", "2", "--methods", "dropout_gathered"),
        ("--images", "-1"),
        ("--out", "/proc/nowhere"),
    )
    assert_usage_errors(forked, tmp_path, *(("experiments.mlp", *flags) for flags in bad))
