"""Ctrl-C, wherever it strikes."""

import contextlib
import signal
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt for Ctrl-C in the block, also where it strikes within a compiled program's callback.

    JAX reports that as an error of the program. A process that ignores Ctrl-C goes on ignoring it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    struck = False

    def strike(number, frame):
        nonlocal struck
        struck = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, strike)
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not struck:
            raise
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, before)
