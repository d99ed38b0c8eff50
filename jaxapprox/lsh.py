"""Asymmetric locality-sensitive hashing: tables of a layer's units, and the units that an input activates."""

from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.active_sets import active_set, shared_active_set
from jaxapprox._src.hashing.tables import (
    MOST_BITS,
    Tables,
    build,
    collision_probability,
    collisions,
    cosines,
    query_codes,
    rebuild,
)

__all__ = [
    "MOST_BITS",
    "Tables",
    "active_dense",
    "active_set",
    "build",
    "collision_probability",
    "collisions",
    "cosines",
    "query_codes",
    "rebuild",
    "shared_active_set",
]
