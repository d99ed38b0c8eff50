r"""Dense layers between sets of active units, for networks that are trained block by block.

Each layer takes `Active` values, chooses the units or the inputs that it works on, and returns with its output a
pull-back: from the gradient in the output's values to that in the input's values, and to a `Block` for each of its
parameters, as `jaxapprox.lazy` takes them. No more of the parameters than those blocks is read.

Parameters are `{"kernel": (in, units), "bias": (units,)}` where a layer chooses inputs, and
`{"weights": (units, in), "bias": (units,)}` where it chooses units: what it chooses lies together. A batch shares its
choice; at a batch of one that is the example's own.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.blockwise.blocks import EVERYTHING, Block, Where, take
from jaxapprox._src.checks import check_key, check_share
from jaxapprox._src.estimates import slices
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.explicit_axes import split_as
from jaxapprox._src.hashing.active_sets import shared_active_set
from jaxapprox._src.hashing.tables import Tables
from jaxapprox._src.sampling.samplers import Sampler, bernoulli_slots
from jaxapprox._src.shares import count_of

Params = Mapping[str, jax.Array]
Activation = Callable[[jax.Array], jax.Array]


class PullBack(Protocol):
    """The gradients of a layer, from `g`, the gradient in its output's values.

    Returns:
        A `Block` for each of the layer's parameters, by name, and the gradient in the input's values.
    """

    def __call__(self, g: jax.Array, /) -> tuple[dict[str, Block], jax.Array]: ...


class Active(NamedTuple):
    """Units of which all but a few are 0.

    Attributes:
        ids: `(a,)` int32, distinct, the units that may be other than 0; None for all. An id past the last unit is an
            unused slot, of value 0.
        values: `(batch, a)`.
    """

    ids: jax.Array | None
    values: jax.Array


def dense(params: Params, x: Active, *, activation: Activation) -> tuple[jax.Array, PullBack]:
    """Computes all units from the active inputs, as an output layer does.

    Args:
        params: kernel and bias.
        x: from the layer before.
        activation: a function that acts on each unit by itself, such as `jax.nn.relu`.

    Returns:
        `(batch, units)`, and a pull-back for the blocks "kernel" and "bias".
    """

    return _affine(params, Where(x.ids), EVERYTHING, x.values, activation)


def hashed(
    key: jax.Array,
    params: Params,
    tables: Tables,
    x: Active,
    *,
    size: int,
    activation: Activation,
    select: str = "union",
) -> tuple[Active, PullBack]:
    """Computes the units that hashing finds for the active inputs (ALSH-approx).

    Of the weights the (active out x active in) block alone is read.

    Args:
        key: a PRNG key, for the choice.
        params: weights and bias.
        tables: of the weights, from `jaxapprox.lsh`; only the active inputs' projections are read.
        x: from the layer before.
        size: units to activate, in [1, units]; with all of them nothing is hashed.
        activation: a function that acts on each unit by itself.
        select: as in `jaxapprox.lsh.active_set`.

    Returns:
        `Active` values, and a pull-back for the blocks "weights" and "bias".

    Raises:
        ValueError: as for `jaxapprox.lsh.active_set`.
    """
    units = None
    if size != params["weights"].shape[0]:
        units = shared_active_set(key, tables, x.values, size=size, select=select, features=x.ids)
    return _units(params, x, units, x.ids, lambda z: activation(z))


def sampled(
    key: jax.Array,
    params: Params,
    norms: jax.Array,
    x: Active,
    *,
    ratio: float,
    sampler: Sampler,
    activation: Activation,
) -> tuple[Active, PullBack]:
    """Estimates all units from a sample of the inputs (MC-approx, forward mode).

    Of the kernel the rows of those inputs alone are read.

    Args:
        key: a PRNG key.
        params: kernel and bias.
        norms: `(in,)`, the Euclidean norms of the kernel's rows, by which inputs are scored. Older ones will do: an
            unbiased sampler is unbiased whatever the scores.
        x: from the layer before, all of its units.
        ratio: share of the inputs to keep, in (0, 1]; at least one; all is the exact layer.
        sampler: any `jaxapprox.Sampler`.
        activation: a function that acts on each unit by itself.

    Returns:
        `Active` with all units, and a pull-back as for `dense`; gradients flow through the kept inputs alone.

    Raises:
        ValueError: if `ratio` or `sampler` is not as above, or x is of active units only.
    """
    check_key(key)
    method = MC(ratio, sampler)
    if x.ids is not None:
        raise ValueError("x must hold all units, got a set of active ones: inputs are sampled from all")
    inputs = params["kernel"].shape[0]
    if method.size(inputs) == inputs:
        y, pull = dense(params, x, activation=activation)
        return Active(None, y), pull
    scores = slices.norms(x.values, -1) * norms
    indices, weights, _ = method.draw(key, scores)
    # A slot without weight is unused, or repeats a row that another slot holds: it gets an id past the last input.
    rows = jnp.where(weights != 0, indices, inputs + jnp.arange(indices.shape[0], dtype=indices.dtype))

    def weigh(values):
        return (values.at[:, rows].get(mode="clip") * weights[None]).astype(values.dtype)

    sample, of_sample = jax.vjp(weigh, x.values)
    y, pull = _affine(params, Where(rows), EVERYTHING, sample, activation)

    def pull_back(g):
        blocks, of_values = pull(g)
        return blocks, *of_sample(of_values)

    return Active(None, y), pull_back


def dropped(
    key: jax.Array, params: Params, x: Active, *, rate: float, activation: Activation
) -> tuple[Active, PullBack]:
    """Applies dropout to the units of one example, without the work of the dropped ones.

    Units that are kept have all of their inputs. Each unit is kept with probability 1 - rate and divided by it, as by
    `flax.linen.Dropout`. There are slots for as many units as are exceeded with a probability of 1e-6 at most; in that
    event the last are dropped as well.

    Args:
        key: a PRNG key.
        params: weights and bias.
        x: `(1, a)` values.
        rate: in [0, 1).
        activation: a function that acts on each unit by itself.

    Returns:
        As for `hashed`.

    Raises:
        ValueError: if `rate` is not as above, or there is more than one example.
    """
    check_key(key)
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be in [0, 1), got {rate!r}")
    if rate == 0:
        return _units(params, x, None, None, activation)
    units = params["weights"].shape[0]
    is_kept = jax.random.bernoulli(key, 1 - rate, (units,))
    slots = bernoulli_slots(units, math.ceil((1 - rate) * units))
    return _kept(params, x, is_kept, slots, lambda z: activation(z) / (1 - rate))


def adaptively_dropped(
    key: jax.Array,
    params: Params,
    x: Active,
    *,
    keep: Callable[[jax.Array], jax.Array],
    capacity: float,
    activation: Activation,
) -> tuple[Active, PullBack]:
    """Applies adaptive dropout (Standout) to one example, without the dropped units' backward work and update.

    Which units are kept depends on all of their inner products: the forward pass is that of a dense layer.

    Args:
        key: a PRNG key.
        params: weights and bias.
        x: `(1, a)` values.
        keep: the probability to keep a unit, from its inner product plus bias; see
            `jaxapprox.adaptive_dropout.keep_probability`.
        capacity: share of the units that there is room for; those kept beyond it, by their ids, are dropped as well.
        activation: a function that acts on each unit by itself.

    Returns:
        As for `hashed`.

    Raises:
        ValueError: if `capacity` is not in (0, 1], or there is more than one example.
    """
    check_key(key)
    check_share("capacity", capacity)
    units = params["weights"].shape[0]
    z = params["weights"] @ _all_inputs(params, x, x.values)[0] + params["bias"]
    is_kept = jax.random.bernoulli(key, keep(z))
    return _kept(params, x, is_kept, count_of(capacity, units), activation)


def _kept(params: Params, x: Active, is_kept: jax.Array, slots: int, activation: Activation) -> tuple[Active, PullBack]:
    """Computes the units that are kept, from all inputs: of so many, single elements cost more than whole rows."""
    if x.values.shape[0] != 1:
        raise ValueError(f"x must be one example, as each drops its own units, got a batch of {x.values.shape[0]}")
    units = is_kept.shape[0]
    ids = jnp.nonzero(is_kept, size=slots, fill_value=units)[0].astype(jnp.int32)
    is_used = (ids < units)[None]
    return _units(params, x, ids, None, lambda z: jnp.where(is_used, activation(z), 0))


def _units(
    params: Params, x: Active, units: jax.Array | None, inputs: jax.Array | None, activation: Activation
) -> tuple[Active, PullBack]:
    """Computes the layer at `units` alone, from its active `inputs`, or from all where there are none given."""
    if inputs is not None or x.ids is None:
        y, pull = _affine(params, Where(units, inputs), Where(units), x.values, activation)
        return Active(units, y), pull
    values, of_inputs = jax.vjp(lambda values: _all_inputs(params, x, values), x.values)
    y, pull = _affine(params, Where(units), Where(units), values, activation)

    def pull_back(g):
        blocks, of_values = pull(g)
        return blocks, *of_inputs(of_values)

    return Active(units, y), pull_back


def _all_inputs(params: Params, x: Active, values: jax.Array) -> jax.Array:
    """Values of the active inputs as values of all inputs."""
    if x.ids is None:
        return values
    zeros = jnp.zeros((values.shape[0], params["weights"].shape[1]), values.dtype)
    return zeros.at[:, x.ids].set(values, mode="drop", unique_indices=True)


def _affine(
    params: Params, where: Where, where_bias: Where, values: jax.Array, activation: Activation
) -> tuple[jax.Array, PullBack]:
    """activation(values times a block of the kernel, or of the weights, plus bias), and its pull-back."""
    by_units = "weights" in params
    matrix, bias = take(params["weights" if by_units else "kernel"], where), take(params["bias"], where_bias)
    # In both forms the block is the operand that is not transposed, which would copy it.
    z = ((matrix @ values.T).T if by_units else values @ matrix) + bias[None]
    y, of_activation = jax.vjp(activation, z)

    def pull_back(g):
        (dz,) = of_activation(g)
        # Computed once, not again for each entry of the product that XLA fuses into the update at a batch of one.
        dz, inputs = lax.optimization_barrier((dz, values))
        left, right = (dz, inputs) if by_units else (inputs, dz)
        block = split_as(PartitionSpec(), lambda left, right: left.T @ right, left, right)  # a sum over the batch
        of_values = dz @ matrix if by_units else (matrix @ dz.T).T
        name = "weights" if by_units else "kernel"
        return {name: Block(where, block), "bias": Block(where_bias, jnp.sum(dz, 0))}, of_values

    return y, pull_back
