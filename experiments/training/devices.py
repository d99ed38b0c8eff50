"""What a program does before it looks at a device: meet other processes, or have none but the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

from experiments.compiler.topology import without_accelerator
from experiments.process.distributed import connected
from experiments.training.options import RunOptions


@contextmanager
def devices_of(config: RunOptions) -> Iterator[None]:
    """The devices of a run, within the block: those of all its processes, or the CPU where others are compiled for.

    Raises:
        UsageError: if the options, or what the cluster's environment tells, can't be used.
    """
    if config.compile_for is not None:
        without_accelerator()
    with connected(config):
        yield
