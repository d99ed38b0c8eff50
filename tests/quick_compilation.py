"""XLA's level 0 for tests of whole networks, of which compiling is the most. Those of the library keep the default."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ENVIRONMENT = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # for a program in a process of its own
