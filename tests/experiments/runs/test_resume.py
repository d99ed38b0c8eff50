"""Runs that end before their time, in every way, and go on: nothing that was reported is lost, nothing is doubled."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from forked import Program, assert_usage_error
from run_rows import rows_of

MODULE = "experiments.mlp"
# Hash tables, rounds of steps, and a checkpoint after every segment: within epochs too.
SWEEP = (
    *("--images", "300", "--width", "12", "--layers", "2", "--methods", "standard", "alsh", "--active", "0.3"),
    *("--epochs", "12", "--seeds", "2", "--seed-axis", "map", "--checkpoint-minutes", "0.000001"),
)
KILLS = 20


@pytest.fixture(scope="module")
def undisturbed(forked, tmp_path_factory):
    """The rows of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    program = start(forked, out)
    assert program.wait() == 0, program.output
    return rows_of(out)


def start(forked, out: Path, **limits: int) -> Program:
    """Begins the sweep, or goes on with it."""
    begun = (out / "config.json").exists()
    return forked.start(MODULE, *(("--resume", str(out)) if begun else (*SWEEP, "--out", str(out))), **limits)


def wait_for_rows(program: Program, out: Path, count: int) -> None:
    deadline = time.monotonic() + 100
    while len(rows_of(out)) < count:
        assert time.monotonic() < deadline, program.output[-2000:]
        time.sleep(0.01)


def test_killed_at_random_moments(forked, undisturbed, tmp_path):
    """Twenty SIGKILLs: the rows only ever grow, and in the end are those of the undisturbed run."""
    rng, kills, run = random.Random(0), 0, 0
    while kills < KILLS:
        out, before, run = tmp_path / f"run-{run}", [], run + 1
        while (len(before) < len(undisturbed)) and kills < KILLS:
            program = start(forked, out)
            time.sleep(rng.uniform(0.1, 1.5))
            os.kill(program.pid, signal.SIGKILL)
            kills += program.wait() == -signal.SIGKILL
            assert "Traceback" not in program.output
            now = rows_of(out)
            assert now[: len(before)] == before
            before = now
        program = start(forked, out)
        assert program.wait() == 0, program.output[-2000:]
        assert rows_of(out) == undisturbed
        assert (out / "summary.md").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save(forked, undisturbed, tmp_path, number):
    """Ctrl-C and SIGTERM: exit code 130 and 143, a summary, the way to go on; and the same result in the end."""
    out = tmp_path / "run"
    program = start(forked, out)
    wait_for_rows(program, out, 2)
    os.kill(program.pid, number)
    assert program.wait(30) == 128 + number
    assert f"--resume {out} goes on" in program.output and "Traceback" not in program.output
    assert 2 <= len(rows_of(out)) < len(undisturbed)
    assert "| standard |" in (out / "summary.md").read_text()
    assert start(forked, out).wait() == 0
    assert rows_of(out) == undisturbed


@pytest.fixture(scope="module")
def stopped_once(forked, tmp_path_factory):
    out = tmp_path_factory.mktemp("stopped") / "run"
    program = start(forked, out)
    wait_for_rows(program, out, 14)
    os.kill(program.pid, signal.SIGTERM)
    assert program.wait(30) == 143
    return out


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A run that was stopped within its second seed, so that several checkpoints lie there."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def checkpoints(out: Path) -> list[Path]:
    """The three that are kept, the latest first."""
    paths = sorted((out / "checkpoints").iterdir(), key=lambda path: int(path.stem), reverse=True)
    assert len(paths) == 3
    return paths


def test_a_checkpoint_is_gone_on_from(forked, undisturbed, stopped):
    """Not begun again, of which the rows would be the same: the seconds of later epochs begin with the checkpoint's."""
    out = stopped
    latest = checkpoints(out)[0]
    with np.load(latest) as archive:
        arrays = dict(archive)
    position = json.loads(arrays["position"].tobytes())
    position["train_seconds"] += 1e6
    arrays["position"] = np.frombuffer(json.dumps(position).encode(), np.uint8)
    np.savez(latest, **arrays)
    done = len(rows_of(out))
    program = start(forked, out)
    assert program.wait() == 0 and "damaged" not in program.output
    assert rows_of(out) == undisturbed
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    members = position["members"]
    later = [row["train_seconds"] for row in rows[done:] if [row["method"], row["seed"]] in members]
    assert later and min(later) > 1e6


def test_damaged_checkpoints(forked, undisturbed, stopped, stopped_once):
    """A byte changed, and a file cut short: named, the one before them used, and the same result; as where all are."""
    out = stopped
    latest, before, _ = paths = checkpoints(out)
    content = bytearray(latest.read_bytes())
    content[len(content) // 2] ^= 1
    latest.write_bytes(content)
    os.truncate(before, before.stat().st_size // 2)
    for damaged in (paths[:2], paths):
        program = start(forked, out)
        assert program.wait() == 0
        output = program.output
        for path in paths:
            assert (f"checkpoint {path.stem} in {out}/checkpoints is damaged" in output) == (path in damaged)
        assert "Traceback" not in output
        assert rows_of(out) == undisturbed
        shutil.rmtree(out)
        shutil.copytree(stopped_once, out)
        for path in paths:
            path.write_bytes(b"")


def test_checkpoints_of_an_earlier_version(forked, undisturbed, stopped):
    """Directories, by orbax: said to be that; what was reported counts, and what is unfinished begins again."""
    out = stopped
    before = rows_of(out)
    for path in checkpoints(out):
        path.unlink()
        (path.with_suffix("") / "state").mkdir(parents=True)
        (path.with_suffix("") / "state" / "manifest.ocdbt").write_bytes(b"of another format")
    program = start(forked, out)
    assert program.wait() == 0
    said = f"warning: the checkpoints in {out}/checkpoints are of an earlier version and not used"
    assert program.output.count(said) == 1 and "damaged" not in program.output
    assert rows_of(out) == undisturbed and undisturbed[: len(before)] == before


def test_full_disk(forked, undisturbed, tmp_path):
    """Where a checkpoint can't be written the run ends with a line; what it has reported stays, and it can go on."""
    out = tmp_path / "run"
    program = start(forked, out, largest_file=8000)
    assert program.wait() == 1
    output = program.output
    assert "error: checkpoint" in output and "could not be written" in output and "Traceback" not in output
    before = rows_of(out)
    assert start(forked, out).wait() == 0
    assert rows_of(out) == undisturbed and undisturbed[: len(before)] == before


def test_half_a_row_is_cut_off(forked, undisturbed, stopped):
    """As a crash of the whole machine may leave one; a finished run that is resumed stays as it is."""
    out = stopped
    with (out / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"method": "stand')
    for _ in range(2):
        assert start(forked, out).wait() == 0
        assert rows_of(out) == undisturbed


def test_another_configuration_is_refused(forked, stopped, tmp_path):
    """The fields that differ are named; so is a directory that is no run, or one of another program."""
    out = stopped
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    refused = [
        (MODULE, ("--resume", str(out), "--epochs", "5", "--lr", "0.1"), "--lr was (0.001,), got (0.1,); "),
        (MODULE, ("--resume", str(out), "--epochs", "5", "--lr", "0.1"), "--epochs was 12, got 5"),
        (MODULE, ("--resume", str(tmp_path)), "--resume must be the directory of a run"),
        ("experiments.cifar", ("--resume", str(out)), "--resume must be a run of this program"),
        (MODULE, (*SWEEP, "--out", str(out)), "--out must be a new directory"),
    ]
    for module, arguments, message in refused:
        assert_usage_error(forked.run(module, *arguments), message)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
