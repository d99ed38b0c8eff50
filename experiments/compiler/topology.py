"""A described TPU: devices that programs can be compiled for, on a machine that has none."""

import os
import re
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from experiments.compiler.chips import Chip, check_topology
from experiments.process.errors import UsageError

# Read when libtpu is loaded: look for no TPU, nor for who else may use it.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # any will do; the topology is named when it is asked for
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Topology(NamedTuple):
    """TPU chips, described.

    Attributes:
        name: such as "v5e:2x2".
        chip: what each device can do.
        devices: JAX's, which compile and run nothing.
    """

    name: str
    chip: Chip
    devices: list[Any]


class DoesNotFit(Exception):
    """A program needs more memory than a device has; `needed` is how many bytes the compiler says that it needs."""

    def __init__(self, needed: int):
        super().__init__(f"a program needs {needed} bytes of a device's memory")
        self.needed = needed


def without_accelerator() -> None:
    """Makes this machine's CPU JAX's only device, unless the user chose: libtpu complains where there is no TPU."""
    if not getattr(jax.config, "jax_platforms", None):
        jax.config.update("jax_platforms", "cpu")


def describe(flag: str, value: str, prefix: str = "") -> Topology:
    """The chips of a topology.

    Args:
        flag: that it was given by, for the message.
        value: of the flag, such as "v5e:2x2".
        prefix: that the flag has before the topology's name.

    Raises:
        UsageError: if there is no such topology, or no libtpu.
    """
    name, chip, chips = check_topology(flag, value, prefix)
    for variable, default in _ENVIRONMENT.items():
        os.environ.setdefault(variable, default)
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{flag} must be a topology such as {prefix}{chip.example}, got {value} ({reason})") from error
    return Topology(name, chip.divided(len(devices) // chips), list(devices))


def compiled(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """The compiled program.

    Raises:
        DoesNotFit: if it needs more memory than the device has.
    """
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = re.findall(r"([\d.]+)([KMGT]?)\b", str(error).partition("Ran out of memory")[2])
        if "RESOURCE_EXHAUSTED" not in str(error) or not sizes:
            raise
        number, unit = max(sizes[:2], key=lambda size: float(size[0] or 0) * _UNITS[size[1]])
        raise DoesNotFit(int(float(number) * _UNITS[unit])) from error


def memory_bytes(program: jax.stages.Compiled) -> int:
    """What a device needs for a program: arguments, results and temporaries, what is donated once."""
    memory: Any = program.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(size - memory.alias_size_in_bytes)


def shapes_on(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """The shapes of arrays, or of what has shapes, that lie on described devices."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), a.dtype, sharding=sharding), tree)
