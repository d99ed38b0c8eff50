"""Which share of its rows each layer keeps for its kernel gradient: the least that adds little variance.

The rule of VCAS (Wang et al., ICLR 2024) holds the variance that a sample adds at a share of the batch's own, layer by
layer. Here the shares are few, so that each is measured, and none is approached in steps: now and then a layer's
gradient is estimated on the batch at every share, and its exact gradient found by halves of the batch, g1 and g2. Then

    |g1 - g2|^2 / 4                          is on average the variance of the batch's gradient, tr Sigma / B,
    |estimate - (g1 + g2) / 2|^2             is on average the variance that a share adds (none is biased),

both are averaged over measurements, and a layer keeps the least share whose added variance is within the budget.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

_MEMORY = 0.7  # how much an average keeps of itself at a measurement


class Control(NamedTuple):
    """What is measured when, and what for.

    Attributes:
        shares: falling from 1.
        budget: added variance in terms of the batch's.
        every: steps from one measurement to the next.
    """

    shares: tuple[float, ...]
    budget: float
    every: int

    @property
    def overhead(self) -> float:
        """The gradients that measurements take, in terms of those of training."""
        return len(self.shares) / self.every  # one exact, and one for each share but the first


class Levels(NamedTuple):
    """The levels of all layers, and what is known of them.

    Attributes:
        levels: the collection "levels".
        batch: `(layers,)`, average variance of the batch's gradient, by the layers' names in order.
        added: `(layers, shares)`, average variance that each share adds; 0 for the first.
    """

    levels: Any
    batch: jax.Array
    added: jax.Array


class SampledKernel(NamedTuple):
    """How much of a layer's kernel gradient is computed.

    Attributes:
        share: of the rows, kept.
        added_variance: by that, in terms of the batch's, as far as it is known.
    """

    share: jax.Array
    added_variance: jax.Array


def first_levels(control: Control, levels: Any) -> Levels:
    """All exact, nothing known."""
    count = len(flatten_dict(levels))
    exact = jax.tree.map(jnp.zeros_like, levels)
    return Levels(exact, jnp.zeros(count), jnp.zeros((count, len(control.shares))))


def names_of(levels: Any) -> tuple[str, ...]:
    """The layers' names, in the order of `Levels`."""
    return tuple("/".join(map(str, path[:-1])) for path in sorted(flatten_dict(levels)))


def kernels_of(levels: Any, gradient: Any) -> list[jax.Array]:
    """The kernel gradients of the layers that have levels, in the order of `Levels`."""
    flat = flatten_dict(gradient)
    return [flat[(*path[:-1], "kernel")] for path in sorted(flatten_dict(levels))]


def measured(
    control: Control,
    state: Levels,
    gradient_at: Callable[[Any, jax.Array], Any],
    exact_gradient: Callable[[jax.Array, jax.Array], Any],
    key: jax.Array,
    tokens: jax.Array,
    labels: jax.Array,
) -> Levels:
    """What is known after a measurement on a batch, and the levels that follow from it.

    Args:
        control: the rule.
        state: before.
        gradient_at: the gradient of the batch at levels, by a key.
        exact_gradient: that of any tokens and labels.
        key: for all draws.
        tokens, labels: the batch, of an even number of examples.
    """
    halves = lax.map(
        lambda half: kernels_of(state.levels, exact_gradient(*half)),
        jax.tree.map(lambda a: a.reshape(2, a.shape[0] // 2, *a.shape[1:]), (tokens, labels)),
    )
    exact = [jnp.mean(gradients, 0) for gradients in halves]
    batch = jnp.stack([jnp.sum(jnp.square(gradients[0] - gradients[1])) / 4 for gradients in halves])

    def added_at(level):
        levels = jax.tree.map(lambda a: jnp.full_like(a, level), state.levels)
        estimates = kernels_of(levels, gradient_at(levels, jax.random.fold_in(key, level)))
        return jnp.stack([jnp.sum(jnp.square(a - b)) for a, b in zip(estimates, exact, strict=True)])

    added = lax.map(added_at, jnp.arange(1, len(control.shares), dtype=jnp.int32)).T
    added = jnp.concatenate([jnp.zeros_like(batch)[:, None], added], 1)
    batch, added = (_MEMORY * old + (1 - _MEMORY) * new for old, new in ((state.batch, batch), (state.added, added)))
    return Levels(_chosen(control, state.levels, batch, added), batch, added)


def work_of(control: Control, state: Levels) -> dict[str, SampledKernel]:
    """What each layer keeps, by its name."""
    flat = flatten_dict(state.levels)
    shares = jnp.asarray(control.shares, jnp.float32)
    found = {}
    for i, (name, path) in enumerate(zip(names_of(state.levels), sorted(flat), strict=True)):
        known = state.batch[i] > 0
        added = jnp.where(known, state.added[i, flat[path]] / jnp.where(known, state.batch[i], 1), 0)
        found[name] = SampledKernel(shares[flat[path]], added)
    return found


def _chosen(control: Control, levels: Any, batch: jax.Array, added: jax.Array) -> Any:
    """For each layer the last level, of the least share, whose added variance is within the budget."""
    numbers = jnp.arange(len(control.shares), dtype=jnp.int32)
    level = jnp.max(jnp.where(added <= control.budget * batch[:, None], numbers, 0), 1)
    return unflatten_dict({path: level[i] for i, path in enumerate(sorted(flatten_dict(levels)))})
