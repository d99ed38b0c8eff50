"""Flax's method interceptors, also where `nn.jit` keeps what it has traced."""

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import linen as nn
from jax.experimental.xla_metadata import set_xla_metadata

_HAS_METADATA = jax.__version_info__ >= (0, 10)  # JAX 0.7 can't lower `lax.approx_max_k` with metadata
_numbers = itertools.count()


@contextlib.contextmanager
def intercepting(interceptor: Callable[..., Any], purpose: str = "") -> Iterator[None]:
    """`nn.intercept_methods`, under which no program serves that was traced without it or for another purpose.

    A class that `nn.jit` made finds its programs by its attributes and by JAX's settings. Metadata of operations, which
    mean nothing to XLA, are among those. Before JAX 0.10 such a class must be made anew for each of its uses.

    Args:
        interceptor: as `nn.intercept_methods` takes it.
        purpose: equal only for interceptors that do the same; without one, programs serve for this time alone.
    """
    own = f"{zlib.crc32(purpose.encode()):x}" if purpose else f"once {next(_numbers)}"
    apart = set_xla_metadata(jaxapprox=own) if _HAS_METADATA else contextlib.nullcontext()
    with nn.intercept_methods(interceptor), apart:
        yield
