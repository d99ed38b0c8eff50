"""How a dense layer is trained on the units that hashing finds: the settings, and what follows from them."""

import dataclasses

import jax

from jaxapprox._src.checks import check_choice, check_share
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.hashing.active_dense import FORMS
from jaxapprox._src.hashing.active_sets import SELECTS, active_set, shared_active_set
from jaxapprox._src.hashing.building import build, rebuild
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.shares import count_of


@dataclasses.dataclass(frozen=True)
class ALSH:
    """Active units by locality-sensitive hashing, for dense layers.

    >>> from jaxapprox import ALSH
    >>> rules = [("hidden_*", ALSH(active=0.1))]  # for `convert`

    Attributes:
        active: share of the units that an example activates, in (0, 1]; at least one unit.
        num_tables, num_bits, transform, num_powers, max_norm, projection: as in `jaxapprox.lsh.build`.
        select: as in `jaxapprox.lsh.active_set`.
        shared: one active set for the whole batch (`jaxapprox.lsh.shared_active_set`) instead of one for each example.
        form: as in `jaxapprox.lsh.active_dense`: what is computed follows from the batch by default.
        hashed_evaluation: evaluate through the hash too, instead of exactly (the paper).

    Raises:
        ValueError: if `active` is not in (0, 1], or `form` or `select` is unknown.
    """

    active: float = 0.05
    num_tables: int = 5
    num_bits: int = 6
    transform: str = "l2"
    num_powers: int = 3
    max_norm: float = 0.83
    projection: str = "rademacher"
    select: str = "union"
    shared: bool = False
    form: str = "auto"
    hashed_evaluation: bool = False

    def __post_init__(self):
        check_share("active", self.active)
        check_choice("form", self.form, FORMS)
        check_choice("select", self.select, SELECTS)

    def size(self, units: int) -> int:
        """The number of active units in a layer of `units`."""
        return count_of(self.active, units)

    def build(self, key: jax.Array, weights: jax.Array) -> Tables:
        """The hash tables of weights `(units, features)`, as by `jaxapprox.lsh.build`."""
        return build(
            key,
            weights,
            num_tables=self.num_tables,
            num_bits=self.num_bits,
            transform=self.transform,
            num_powers=self.num_powers,
            max_norm=self.max_norm,
            projection=self.projection,
        )

    def active_set(self, key: jax.Array, tables: Tables, x: jax.Array, size: int) -> jax.Array:
        """The `size` units that each example of x `(batch, features)` activates.

        Returns:
            `(batch, size)` int32, or `(size,)` where the batch shares one set.
        """
        choose = shared_active_set if self.shared else active_set
        return choose(key, tables, x, size=size, select=self.select)


def examples_of(x: jax.Array) -> jax.Array:
    """Inputs `(*batch, features)` with one batch axis."""
    return split_as(split_of(x, min(1, x.ndim - 1)), lambda x: x.reshape(-1, x.shape[-1]), x)


def rebuild_from_kernel(tables: Tables, kernel: jax.Array) -> Tables:
    """The tables of a layer's kernel `(*stack, features, units)` by `rebuild`, mapped over the leading axes of both."""
    function = rebuild
    for _ in range(kernel.ndim - 2):
        function = jax.vmap(function)
    return function(tables, kernel.swapaxes(-1, -2))
