"""XLA's level 0 for tests of whole networks, of which compiling is the most. Those of the library keep the default."""

import functools
import os
import tempfile

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
# For a program in a process of its own; what one has compiled another one of this test run need not.
_CACHE = f"{tempfile.gettempdir()}/jaxapprox-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
ENVIRONMENT = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
    "JAX_COMPILATION_CACHE_DIR": _CACHE,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
