"""What a record says of its machine."""

import os

import pytest

from experiments.record import machine


def test_hardware_is_told():
    found = machine.hardware(gpu=False)
    assert found["cores"] == os.cpu_count() and found["machine"] and "gpus" not in found


def test_instructions_are_told_that_speed_depends_on(monkeypatch, tmp_path):
    """Whole words of Linux's list, of the first processor."""
    monkeypatch.setattr(machine, "_CPU", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU\nflags\t\t: fpu avx avx2 avx512bw\nflags\t\t: avx512f\n")
    found = machine.hardware(gpu=False)
    assert (found["processor"], found["instructions"]) == ("Some CPU", ["avx2"])


def test_what_others_did_is_all_but_ones_own_work(monkeypatch):
    """Own work is that of this process and of its children that have ended."""
    clocks = {"monotonic": [100.0, 110.0], "busy": [50.0, 65.0], "own": [5.0, 13.0]}
    monkeypatch.setattr(machine.time, "monotonic", lambda: clocks["monotonic"].pop(0))
    monkeypatch.setattr(machine, "_busy", lambda: clocks["busy"].pop(0))
    monkeypatch.setattr(machine, "_own", lambda: clocks["own"].pop(0))
    assert machine.Load().of_others() == pytest.approx(0.7)


def test_a_machine_that_does_not_tell(monkeypatch, tmp_path):
    for name in ("_STAT", "_CPU", "_MEMORY"):
        monkeypatch.setattr(machine, name, tmp_path / "none")
    assert machine.Load().of_others() is None and machine.hardware(gpu=False)["memory"] is None
