"""Sweeps over several devices and several processes, started as real ones, against one device."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import quick_compilation
from forked import Program, assert_usage_errors
from run_rows import rows_of

SWEEP = (
    *("--preset", "quick", "--width", "2", "--blocks", "1", "--images", "64", "--batch-size", "16", "--epochs", "2"),
    *("--methods", "mc", "--seeds", "8", "--recalibration-batches", "2"),
)
ENDED = 30  # seconds within which every process ends when one does


def start(forked, *arguments: str, devices: int = 1) -> Program:
    flags = f"{quick_compilation.FLAGS} --xla_force_host_platform_device_count={devices}"
    return forked.start("experiments.cifar", *arguments, environment={"XLA_FLAGS": flags})


def finish(*programs: Program, seconds: float = 200) -> list[str]:
    """Waits for all; their outputs."""
    try:
        for program in programs:
            program.wait(seconds)
        return [program.output for program in programs]
    finally:
        for program in programs:
            if program.returncode is None:
                os.kill(program.pid, signal.SIGKILL)
                program.wait()


def company(forked, *arguments: str) -> list[Program]:
    """Two processes of two devices each, which meet at a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2")
    return [start(forked, *arguments, *meeting, "--process-id", str(i), devices=2) for i in range(2)]


def by_place(out: Path) -> dict[tuple[str, int, int], dict]:
    """Rows by method, seed and epoch; none is there twice."""
    rows = {(row["method"], row["seed"], row["epoch"]): row for row in rows_of(out)}
    assert len(rows) == len(rows_of(out))
    return rows


@pytest.fixture(scope="module")
def one_device(forked, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "run"
    (output,) = finish(start(forked, *SWEEP, "--seed-axis", "map", "--out", str(out)))
    rows = by_place(out)
    assert len(rows) == 16, output
    return rows


def test_eight_devices(forked, one_device, tmp_path):
    """Over the seed axis to the bit."""
    out = tmp_path / "run"
    (output,) = finish(start(forked, *SWEEP, "--seed-axis", "shard", "--out", str(out), devices=8))
    assert by_place(out) == one_device, output
    assert json.loads((out / "plans.json").read_text())["mc"][0]["mesh"] == [8, 1]


def test_two_processes_over_the_seeds(forked, one_device, tmp_path):
    """Two processes of two devices, to the bit; only the first one writes."""
    outputs = finish(*company(forked, *SWEEP, "--out", str(tmp_path / "run")))
    assert by_place(tmp_path / "run") == one_device, outputs
    assert "seed axis shard, 4 at once" in outputs[0]
    assert "epoch" not in outputs[1]


def test_two_processes_over_the_batch(forked, one_device, tmp_path):
    """Half of the devices share each batch: sums in another order, the loss of the first epoch to 1e-4."""
    out = tmp_path / "run"
    outputs = finish(*company(forked, *SWEEP, "--mesh", "2", "2", "--out", str(out)))
    rows = by_place(out)
    assert rows.keys() == one_device.keys(), outputs
    assert rows != one_device
    for place, row in rows.items():
        if place[2] == 1:
            np.testing.assert_allclose(row["train_loss"], one_device[place]["train_loss"], rtol=1e-4)


@pytest.mark.parametrize("dying", [0, 1])
def test_all_end_when_one_dies(forked, tmp_path, dying):
    """The other process ends with a line, and what was reported can be resumed by fewer."""
    out = tmp_path / "run"
    processes = company(forked, *SWEEP, "--epochs", "3000", "--out", str(out))
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 100
    while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.1)
    os.kill(processes[dying].pid, signal.SIGKILL)
    start_of_wait = time.monotonic()
    outputs = finish(*processes, seconds=ENDED)
    assert time.monotonic() - start_of_wait < ENDED
    other = 1 - dying
    assert processes[other].returncode not in (0, None)
    assert "error: another process of this run has ended" in outputs[other]
    assert len(by_place(out)) >= 4


def test_unreachable_coordinator(forked):
    """A line within the time that was given, and exit code 2; for process 0, which answers but is alone, too."""
    for process_id in ("1", "0"):
        begun = time.monotonic()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        meeting = ("--coordinator", address, "--num-processes", "2", "--process-id", process_id)
        process = start(forked, *SWEEP, *meeting, "--connect-seconds", "2")
        (output,) = finish(process, seconds=60)
        assert process.returncode == 2 and "Traceback" not in output
        assert f"--coordinator: not all processes met at {address} within 2 s" in output
        assert time.monotonic() - begun < 30


def test_a_mesh_that_does_not_divide_the_work(forked, tmp_path):
    bad = (
        ("--mesh", "3", "1"),  # of four devices
        ("--mesh", "4", "1", "--seeds", "6"),
        ("--mesh", "1", "4", "--batch-size", "10"),
        ("--seeds-at-once", "3", "--seed-axis", "shard", "--seeds", "4"),
        ("--mesh", "4", "2"),
    )
    small = ("--preset", "quick", "--width", "2", "--blocks", "1")
    commands = (("experiments.cifar", flag[0], *flag[1:], "--methods", "mc", *small) for flag in bad)
    flags = f"{quick_compilation.FLAGS} --xla_force_host_platform_device_count=4"
    assert_usage_errors(forked, tmp_path, *commands, XLA_FLAGS=flags)
