"""What a record says of its machine."""

import os

import pytest

from experiments.record import machine


def test_hardware_is_told():
    found = machine.hardware(gpu=False)
    assert found["cores"] == os.cpu_count() and found["machine"] and "gpus" not in found


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
