"""Compilation is the most of what tests do: LLVM need not do its best for them. XLA's own passes are the same."""

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

# A program in one piece, for the cores have other tests to run: XLA would cut it for LLVM to work on 32 at a time.
LEVEL_0 = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
# Where XLA still has its emitters without MLIR, they take half as long. The program that a test starts as from a shell
# (`tests/experiments/test_programs.py`) has the emitters that users have.
FLAGS = LEVEL_0 + ("" if jax.version.__version_info__ >= (0, 11) else " --xla_cpu_use_fusion_emitters=false")
# What one process has compiled no other need, of this test run or of a later one: JAX finds programs by what they are,
# and by the versions, flags and machine that they are for. `pytest --cache-clear` forgets them.
CACHE = Path(__file__).parents[2] / ".pytest_cache" / "d" / "programs"
KEPT_DAYS = 7
ENVIRONMENT = {
    "XLA_FLAGS": FLAGS,
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def jit(function: Callable[..., Any], *, platform: str | None = None, **options: Any) -> Any:
    """In the place of `experiments.training.compilation.jit`: for the CPU, and for programs that do little."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)


def once(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """`function(*arguments, **settings)` by one program, where each of its operations would be one."""
    return jit(functools.partial(function, **settings))(*arguments)


def forget_old() -> None:
    """Deletes the programs that nothing has read for some days: of other versions, and of code that has changed."""
    for path in CACHE.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another test run is as tidy
            if path.stat().st_atime < time.time() - KEPT_DAYS * 86400:
                path.unlink()
