"""Compilation is the most of what tests do: LLVM need not do its best for them. XLA's own passes are the same."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import jax

LEVEL_0 = "--xla_backend_optimization_level=0"
# Where XLA still has its emitters without MLIR, they take half as long. The program that a test starts as from a shell
# (`tests/experiments/test_programs.py`), and those on several devices, have the emitters that users have.
FLAGS = LEVEL_0 + ("" if jax.version.__version_info__ >= (0, 11) else " --xla_cpu_use_fusion_emitters=false")
# For a program in a process of its own; what one has compiled another one of this test run need not.
_CACHE = f"{tempfile.gettempdir()}/jaxapprox-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
ENVIRONMENT = {
    "XLA_FLAGS": FLAGS,
    "JAX_COMPILATION_CACHE_DIR": _CACHE,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def jit(function: Callable[..., Any], *, platform: str | None = None, **options: Any) -> Any:
    """In the place of `experiments.training.compilation.jit`: for the CPU, and for programs that do little."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)
