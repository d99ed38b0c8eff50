"""Several processes as one run: how they find each other, agree, and end together."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.process.errors import OutputError, UsageError
from experiments.process.exits import explain
from experiments.training.options import RunOptions

_HEARTBEAT_SECONDS = 20


@contextmanager
def connected(config: RunOptions) -> Iterator[None]:
    """The other processes can be reached within the block, where the options tell of any.

    Where another one ends, this one does, with a line on stderr and a code other than 0; where they can't be reached
    within `connect_seconds`, with code 2.

    Raises:
        UsageError: if the cluster's environment tells nothing.
    """
    if config.coordinator is None and not config.distributed:
        yield
        return
    where = config.coordinator or "the address that the cluster's environment gives"
    unreachable = f"error: --coordinator: not all processes met at {where} within {config.connect_seconds} s"
    # JAX's own time-out aborts with a stack trace: end before it.
    watch = threading.Timer(config.connect_seconds, _end, (2, unreachable))
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            config.coordinator,
            config.num_processes,
            config.process_id,
            initialization_timeout=10 * config.connect_seconds,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"--distributed or --coordinator can't be used: {' '.join(str(error).split())}") from error
    finally:
        watch.cancel()
    ended = (
        f"error: another process of this run has ended, and so does process {jax.process_index()} of"
        f" {jax.process_count()}; what was reported is kept: --resume continues"
    )
    with _last_words(ended) as unsay:
        try:
            yield
        except jax.errors.JaxRuntimeError as error:  # of a connection that broke, mostly
            _end(1, f"error: {str(error).splitlines()[0]}")
        except (UsageError, OutputError) as error:
            unsay()
            os._exit(explain(error))  # Python's way out would wait for the others
        unsay()
    jax.distributed.shutdown()


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def from_first(value: int) -> int:
    """What process 0 has for `value`."""
    return int(value) if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int64(value)))


def largest(value: int) -> int:
    """The largest that any process has for `value`."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int64(value)).max())


def tree_from_first(tree: Any) -> Any:
    """Process 0's arrays; the others give some of the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def to_host(tree: Any) -> Any:
    """Arrays on the host, whole, of which each process may have a part."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


@contextmanager
def _last_words(line: str) -> Iterator[Any]:
    """Prints `line` on stderr when this process ends in whatever way, an abort included, unless it is unsaid."""
    reader = 'read said || echo "$1" >&2'
    child = subprocess.Popen(["sh", "-c", reader, "sh", line], stdin=subprocess.PIPE, start_new_session=True)

    def unsay() -> None:
        child.communicate(b"unsaid\n")

    yield unsay


def _end(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    os._exit(code)
