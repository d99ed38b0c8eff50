"""Several processes as one run: how they find each other, agree, and end together."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.process.errors import OutputError, UsageError
from experiments.process.exits import explain

_HEARTBEAT_SECONDS = 20


class Meeting(Protocol):
    """The options that say which processes make up a run; `experiments.training.options` documents them."""

    @property
    def distributed(self) -> bool: ...

    @property
    def coordinator(self) -> str | None: ...

    @property
    def num_processes(self) -> int | None: ...

    @property
    def process_id(self) -> int | None: ...

    @property
    def connect_seconds(self) -> int: ...


@contextmanager
def connected(config: Meeting) -> Iterator[None]:
    """Connects this process to the others of its run within the block, where the options name any.

    When another process ends, this one ends too, with a line on stderr and a code other than 0. When they can't be
    reached within `connect_seconds`, it ends with code 2.

    Args:
        config: the options.

    Raises:
        UsageError: if the options, or what the cluster's environment tells, can't be used.
    """
    if config.coordinator is None and not config.distributed:
        yield
        return
    _connect(config)
    ended = (
        f"error: another process of this run has ended, and so does process {jax.process_index()} of"
        f" {jax.process_count()}; what was reported is kept: --resume continues"
    )
    with _last_words(ended) as unsay:
        try:
            yield
        except (UsageError, OutputError) as error:
            unsay()
            os._exit(explain(error))  # Python's way out would wait for the others
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            if isinstance(error, ValueError) and "Gloo" not in str(error):  # as JAX has some of a broken connection
                raise
            _end(1, f"error: {str(error).splitlines()[0]}")
        unsay()
    jax.distributed.shutdown()


def _connect(config: Meeting) -> None:
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


def is_first() -> bool:
    """Returns whether this is process 0, the one that writes."""
    return jax.process_index() == 0


def from_first(value: int) -> int:
    """Returns what process 0 has for `value`, in every process; all must call it."""
    return int(value) if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int64(value)))


def largest(value: int) -> int:
    """Returns the largest that any process has for `value`, in every process; all must call it."""
    return value if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int64(value)).max())


def tree_from_first(tree: Any) -> Any:
    """Returns process 0's arrays in every process; all must call it, with arrays of the same shapes and dtypes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)


def to_host(tree: Any) -> Any:
    """Returns whole arrays on the host, of which each process may hold a part; all must call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


@contextmanager
def _last_words(line: str) -> Iterator[Callable[[], None]]:
    """Has `line` printed on stderr when this process ends in whatever way, unless the function it yields is called."""
    # Only another process can: when process 0 dies, XLA's client ends this one from a thread of its own, in JAX 0.7
    # within 20 ms by _exit (no signal, no exit handler), in 0.10 by SIGABRT. A Python thread that waits on the
    # connection loses that race more often than not, a missed_heartbeat_callback from Python ends in std::bad_cast, and
    # jax_enable_recoverability keeps XLA from it only where another than process 0 died.
    reader = 'read said || echo "$1" >&2'
    child = subprocess.Popen(["sh", "-c", reader, "sh", line], stdin=subprocess.PIPE, start_new_session=True)

    def unsay() -> None:
        child.communicate(b"unsaid\n")

    yield unsay


def _end(code: int, line: str) -> NoReturn:
    """Ends the process at once, with a line on stderr."""
    print(line, file=sys.stderr, flush=True)
    os._exit(code)
