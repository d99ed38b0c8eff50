"""Asymmetric locality-sensitive hashing: tables of a layer's units, and the units that an input activates.

`build` hashes a layer's weights w (its units), `active_set` finds the units whose codes are those of an input x, and
`active_dense` computes these units alone. Weights and inputs go through different transforms, P and Q, such that P(w)
and Q(x) point the same way where w . x is large. With w~ = w U / max |w| and x^ = x / |x|:

    transform   P(w~)                                               Q(x^)
    "l2"        [w~; |w~|^2; |w~|^4; ...; |w~|^(2^m)]               [x^; 1/2; ...; 1/2]
    "sign"      [w~; 1/2 - |w~|^2; ...; 1/2 - |w~|^(2^m)]           [x^; 0; ...; 0]
    "simple"    [w~; sqrt(1 - |w~|^2)], with U = 1                  [x^; 0]

A code is the signs of K random projections. In one of L tables a unit and an input meet with probability (1 - theta /
pi)^K for Gaussian projections, theta the angle between P and Q: see `cosines` and `collision_probability`.
"""

from jaxapprox._src.hashing.active_dense import active_dense
from jaxapprox._src.hashing.active_sets import active_set, shared_active_set
from jaxapprox._src.hashing.building import MOST_BITS, build, rebuild
from jaxapprox._src.hashing.codes import collision_probability, collisions, cosines, query_codes
from jaxapprox._src.hashing.tables import Tables

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
