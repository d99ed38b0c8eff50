"""How noisy gradients are, exact and sampled, by batches of examples."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxapprox._src.checks import check_int, check_key
from jaxapprox._src.efficiency.examples import check_examples
from jaxapprox._src.efficiency.inner_products import ExactGradient, SampledGradient, inner_products
from jaxapprox._src.efficiency.moments import Moments, Products, Statistics, added, moments, statistics
from jaxapprox._src.text_table import aligned

_FEWEST_GROUPS = 3
_MOST_BATCHES = 2  # of the smaller size in a group: more of them cost much and tell little


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Signal, noise and bias of gradients; `str` gives a table.

    Attributes:
        total: of the whole gradient.
        layers: of each layer's, by its path; a layer's parameters are those with the same path but for the last name.
        statistics: of the whole gradient, of all groups and without each of them.
        sizes: the two batch sizes.
        groups: how many batches of the larger size there were.
        seconds: how long the gradients took, compiling aside.
    """

    total: Moments
    layers: dict[str, Moments]
    statistics: Statistics
    sizes: tuple[int, int]
    groups: int
    seconds: float

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "N", "a", "c", "bias", "cosine")]
        rows += [(name, *found.cells) for name, found in self.layers.items()]
        rows.append(("all", *self.total.cells))
        return (
            f"{aligned(rows)}\nN: the batch size of as much noise as signal. a, c: variance that sampling adds,"
            " relative to tr Sigma / B and to |G|^2."
            f" From {self.groups} batches of {self.sizes[1]}, and smaller ones of {self.sizes[0]}."
        )


def gradient_noise(
    key: jax.Array,
    exact: ExactGradient,
    sampled: SampledGradient,
    params: Any,
    examples: Any,
    *,
    sizes: tuple[int, int] = (16, 64),
) -> GradientNoise:
    """Measures signal, noise and bias of sampled gradients beside exact ones.

    Of each batch of the larger size and two batches of the smaller size from it, the exact gradient is computed once,
    and the sampled one by two keys. Estimates are unbiased, for they are made of products of gradients of different
    batches; errors are those of the jackknife over the batches of the larger size.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.efficiency import gradient_noise
    >>> def exact(params, batch):
    ...     return params - batch.mean(0)
    >>> def sampled(key, params, batch):
    ...     return exact(params, jax.random.choice(key, batch, (len(batch) // 2,), replace=False))
    >>> examples = jax.random.normal(jax.random.key(0), (1024, 10)) + 1
    >>> noise = gradient_noise(jax.random.key(1), exact, sampled, jnp.zeros(10), examples)
    >>> bool(noise.total.noise_scale.value < 2)
    True
    >>> bool(abs(noise.total.a.value - 1) < 4 * noise.total.a.error)
    True

    Args:
        key: for the draws.
        exact, sampled: the gradients, of the mean loss of a batch; JAX traces them.
        params: a tree of arrays.
        examples: a tree of arrays `(n, ...)`, in random order. They are used up to a multiple of `sizes[1]`.
        sizes: two batch sizes; the larger one is a multiple of the smaller one.

    Raises:
        ValueError: if an argument does not fit, there are fewer than three batches of the larger size, or a gradient is
            not finite (its leaf is named) or not a tree like the parameters.
    """
    check_key(key)
    check_sizes(sizes)
    count = check_examples(examples)
    groups, number = count // sizes[1], min(_MOST_BATCHES, sizes[1] // sizes[0])
    if groups < _FEWEST_GROUPS:
        least = _FEWEST_GROUPS * sizes[1]
        raise ValueError(f"examples must be {least} or more, {_FEWEST_GROUPS} batches of {sizes[1]}, got {count}")
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    found, seconds = [], 0.0
    for size, size_key in zip(sizes, jax.random.split(key), strict=True):
        chosen = (groups, number if size == sizes[0] else 1, size)
        batches = jax.tree.map(lambda x, chosen=chosen: _grouped(x, sizes[1], *chosen), examples)
        measured = inner_products(exact, sampled, size_key, params, batches)
        _check_finite(names, measured.leaves)
        found.append(measured.leaves)
        seconds += measured.seconds
    by_layer: dict[str, list[tuple[Products, ...]]] = {}
    for name, *leaf in zip(names, *found, strict=True):
        by_layer.setdefault(name.rpartition("/")[0] or name, []).append(tuple(leaf))
    total = statistics(added(found[0]), added(found[1]), number, sizes[0])
    layers = {}
    for name, of_layer in by_layer.items():
        small, large = (added(products) for products in zip(*of_layer, strict=True))
        layers[name] = moments(statistics(small, large, number, sizes[0]))
    return GradientNoise(moments(total), layers, total, sizes, groups, seconds)


def check_sizes(sizes: tuple[int, int]) -> None:
    """Refuses all but two batch sizes, the larger one a multiple of the smaller one."""
    if not isinstance(sizes, tuple | list) or len(sizes) != 2:
        raise ValueError(f"sizes must be two batch sizes, got {sizes!r}")
    for size in sizes:
        check_int("sizes", size, None)
    if sizes[1] <= sizes[0] or sizes[1] % sizes[0]:
        raise ValueError(f"sizes must be a batch size and a multiple of it, got {sizes!r}")


def _grouped(examples: Any, large: int, groups: int, number: int, size: int) -> jax.Array:
    """Batches `(groups, number, size, ...)`, those of a group from so many examples."""
    of_groups = jnp.asarray(examples)[: groups * large].reshape(groups, large, *jnp.shape(examples)[1:])
    return of_groups[:, : number * size].reshape(groups, number, size, *of_groups.shape[2:])


def _name(path: tuple[Any, ...]) -> str:
    """A leaf's path, without the attribute in which a Flax variable or box holds its array."""
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value":
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/") or "params"


def _check_finite(names: list[str], leaves: list[Products]) -> None:
    for name, products in zip(names, leaves, strict=True):
        for which, own in (("exact", products.own_exact), ("sampled", products.own_keys + products.own_mixed)):
            if not np.all(np.isfinite(own)):
                raise ValueError(f"{which} must return finite gradients, got others in {name}")
