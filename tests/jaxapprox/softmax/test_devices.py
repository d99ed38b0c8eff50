"""Classes split over devices: the checks of `tests/support/softmax_devices.py`, each by its name."""

import jax.numpy as jnp
import numpy as np
import pytest
from device_program import faults_of
from softmax_devices import CHECKS

from jaxapprox.softmax import shard_classes, unshard_classes


@pytest.fixture(scope="module")
def faults():
    """What went wrong, by the names of the checks."""
    return faults_of("softmax_devices.py")


@pytest.mark.parametrize("check", CHECKS)
def test_devices(faults, check):
    assert faults[check] is None


def test_classes_are_interleaved():
    """Class c is row c // devices of device c % devices, and the inverse is one."""
    weights = np.arange(24.0).reshape(12, 2)
    split = shard_classes(jnp.asarray(weights), 4)
    for c in range(12):
        np.testing.assert_array_equal(split[3 * (c % 4) + c // 4], weights[c])
    np.testing.assert_array_equal(unshard_classes(split, 4), weights)


def test_classes_that_devices_can_not_share():
    with pytest.raises(ValueError, match=r"^devices must "):
        shard_classes(jnp.zeros((10, 2)), 4)
