"""The functions of `jaxapprox.lsh`, each one program; called by themselves, each of their operations would be one."""

import jax

from jaxapprox import lsh

_SETTINGS = ("num_tables", "num_bits", "transform", "num_powers", "max_norm", "projection")
build = jax.jit(lsh.build, static_argnames=_SETTINGS)
rebuild, query_codes, collisions = map(jax.jit, (lsh.rebuild, lsh.query_codes, lsh.collisions))
active_set = jax.jit(lsh.active_set, static_argnames=("size", "select"))
shared_active_set = jax.jit(lsh.shared_active_set, static_argnames=("size", "select"))


def forget() -> None:
    """What was compiled, of which another way of finding units knows nothing."""
    for function in (build, rebuild, query_codes, collisions, active_set, shared_active_set):
        function.clear_cache()
