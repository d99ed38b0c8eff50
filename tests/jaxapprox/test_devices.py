"""Public functions on several devices: the checks of `tests/support/device_checks.py`, each by its name."""

import pytest
from device_checks import CHECKS
from device_program import faults_of


@pytest.fixture(scope="module")
def faults():
    """What went wrong, by the names of the checks."""
    return faults_of("device_checks.py")


@pytest.mark.parametrize("check", [f"{title}: {name}" for title, (_, names) in CHECKS.items() for name in names])
def test_devices(faults, check):
    assert faults[check] is None
