r"""Asymmetric locality-sensitive hashing for maximum inner product: it finds the units that answer an input most.

Weights w and inputs x go through two different transforms, P and Q, such that P(w) and Q(x) point the same way where
w . x is large; then K signs of random projections make a code, once for each of L tables. A unit is found in a table
where its code is the input's. With w~ = w U / max |w| (a copy: parameters are never rescaled) and x^ = x / |x|:

    transform   P(w~)                                               Q(x^)
    "l2"        [w~; |w~|^2; |w~|^4; ...; |w~|^(2^m)]               [x^; 1/2; ...; 1/2]
    "sign"      [w~; 1/2 - |w~|^2; ...; 1/2 - |w~|^(2^m)]           [x^; 0; ...; 0]
    "simple"    [w~; sqrt(1 - |w~|^2)], with U = 1                  [x^; 0]

For a Gaussian projection a bit agrees with probability 1 - theta / pi, theta the angle between P and Q.

References:
    Shrivastava, Li, Asymmetric LSH (ALSH) for Sublinear Time Maximum Inner Product Search, NeurIPS 2014 ("l2").
    Shrivastava, Li, Improved Asymmetric Locality Sensitive Hashing (ALSH) for MIPS, UAI 2015 ("sign").
    Neyshabur, Srebro, On Symmetric and Asymmetric LSHs for Inner Product Search, ICML 2015 ("simple").
    Goemans, Williamson, Improved Approximation Algorithms for Maximum Cut, J. ACM 1995 (the angle of a sign).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

TRANSFORMS = ("l2", "sign", "simple")


class Tables(NamedTuple):
    """Hash functions and the units' codes: a tree of arrays, so that tables scan, vmap and checkpoint.

    Attributes:
        projections: `(features, tables * bits)`; a row for each feature, so that few features read few rows.
        tail: `(extra, tables * bits)`: the projections of what the transform appends.
        codes: `(tables, units)` int32.
        order: `(tables, units)` int32, unit ids by code; None for a layer without buckets.
        offsets: `(tables, 2^bits + 1)` int32, where each bucket of `order` begins; None without buckets.
        transform: () int32, an index into `TRANSFORMS`.
        max_norm: () float, U.
    """

    projections: jax.Array
    tail: jax.Array
    codes: jax.Array
    order: jax.Array | None
    offsets: jax.Array | None
    transform: jax.Array
    max_norm: jax.Array

    @property
    def has_buckets(self) -> bool:
        """Whether `active_set` collects buckets, instead of comparing every unit's code."""
        return self.order is not None


_WITH_BUCKETS = {"order", "offsets"}


def as_tables(tables: Any, name: str = "tables") -> Tables:
    """Tables as JAX arrays, also where they come back from a file as NumPy arrays or as a dict by field.

    Args:
        tables: `Tables`, or a mapping with their fields.
        name: what an error calls them.

    Raises:
        ValueError: if they are neither.
    """
    given = tables._asdict() if isinstance(tables, Tables) else tables if isinstance(tables, Mapping) else {}
    fields = {field: value for field, value in given.items() if value is not None}
    if not {*Tables._fields} - _WITH_BUCKETS <= fields.keys() <= {*Tables._fields}:
        got = f"a dict of {', '.join(map(str, tables)) or 'nothing'}" if isinstance(tables, Mapping) else repr(tables)
        raise ValueError(f"{name} must be jaxapprox.lsh.Tables or a dict of {', '.join(Tables._fields)}, got {got}")
    arrays: dict[str, Any] = {
        field: jnp.asarray(fields[field]) if field in fields else None for field in Tables._fields
    }
    return Tables(**arrays)
