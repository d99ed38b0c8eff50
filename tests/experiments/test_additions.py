"""One addition, one edit: a sampler, a data set and a method that are registered are there for the command line."""

import json
import os
import subprocess
import sys

import quick_compilation
from forked import ROOT

# As if the three lines stood in the registries: what a user adds is imported before the program.
_PROGRAM = "import runpy, sys; import additions; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "tests" / "support"), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, **quick_compilation.ENVIRONMENT, "COLUMNS": "200", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_sampler_a_data_set_and_a_method(tmp_path):
    """They train, with the settings that the method sweeps, and the summary has its note."""
    tiny = ("--width", "10", "--layers", "1", "--epochs", "1")
    added = ("--data", "stripes", "--methods", "standard", "mc", "halves", "--sampler", "first", "--ratio", "0.5", "1")
    process = run("experiments.mlp", *tiny, *added, "--out", str(tmp_path / "run"))
    assert process.returncode == 0, process.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == [
        "standard",
        "mc ratio 0.5",
        "mc ratio 1.0",
        "halves ratio 0.5",
        "halves ratio 1.0",
    ]
    by_name = {row["method"]: row["train_loss"] for row in rows}
    assert by_name["mc ratio 0.5"] == by_name["halves ratio 0.5"] != by_name["standard"] == by_name["mc ratio 1.0"]
    summary = (tmp_path / "run" / "summary.md").read_text()
    assert "on Stripes" in summary and "halves: the paper says nothing of it." in summary


def test_help_and_refusals_list_them(tmp_path):
    process = run("experiments.cifar", "--help")
    assert process.returncode == 0 and "{topk,uniform,importance,bernoulli,systematic,first}" in process.stdout
    assert "{digits,mnist,cifar10,stripes,tfds:NAME}" in process.stdout
    process = run("experiments.mlp", "--methods", "magic", "--out", str(tmp_path / "run"))
    assert process.returncode == 2 and "mc, mc_backward, halves, got magic" in process.stderr
    assert not (tmp_path / "run").exists()
