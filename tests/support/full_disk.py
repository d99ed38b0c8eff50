"""A disk that is full after so many bytes of a file."""

import resource
from contextlib import contextmanager


@contextmanager
def largest_file(size):
    """No file can be written beyond `size` bytes within the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
