"""The estimated layers that are measured, each with what theory predicts of it."""

from typing import NamedTuple, Protocol

import jax
from jax import lax

from experiments.error_by_depth import theory
from experiments.error_by_depth.options import ErrorByDepth
from jaxapprox import ALSH, MC, Sampler, mc_dense, systematic, topk
from jaxapprox.lsh import active_dense, active_set, build


class Layer(Protocol):
    """A ReLU layer whose product is estimated."""

    def __call__(self, key: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Activations `(examples, width)`, from those of the layer before and a kernel `(width, width)`."""
        ...


class ActiveUnits(Protocol):
    """A choice of the active units of each example."""

    def __call__(self, key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
        """The ids `(examples, size)` of the units chosen for the inputs `x` (examples, width)."""
        ...


class EstimatedLayer(NamedTuple):
    """How a layer is estimated, and what theory says of a network of such layers."""

    layer: Layer
    prediction: theory.Prediction


def estimated_layers(options: ErrorByDepth) -> dict[str, EstimatedLayer]:
    """All of them by name: MC at each ratio, then those that activate a share of the units."""
    width, layers = options.width, options.layers
    known = {}
    for ratio in options.ratios:
        share = MC(ratio).size(width) / width
        for sampler, make_rule in ((systematic, theory.keep_unbiased), (topk, theory.keep_largest)):
            prediction = theory.predict(make_rule(share), layers, of_outputs=False)
            known[f"mc {sampler.__name__}, ratio {ratio}"] = EstimatedLayer(_sampled(ratio, sampler), prediction)
    size = ALSH(options.active).size(width)
    rules: dict[str, tuple[ActiveUnits, theory.Rule]] = {
        "alsh": (_hashed_units, theory.keep_hashed(size / width, width)),
        "oracle": (_largest_units, theory.keep_largest(size / width)),
        "random": (_random_units, theory.keep_random(size / width)),
    }
    for name, (choose, rule) in rules.items():
        prediction = theory.predict(rule, layers, of_outputs=True)
        known[f"{name}, active {options.active}"] = EstimatedLayer(_active(size, choose), prediction)
    return known


def _sampled(ratio: float, sampler: Sampler) -> Layer:
    """The product of each example with its own sample of the inputs."""

    def layer(key: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
        def one(key, x):
            return mc_dense(key, x[None], kernel, ratio=ratio, sampler=sampler, mode="forward")[0]

        return jax.nn.relu(jax.vmap(one)(jax.random.split(key, len(x)), x))

    return layer


def _active(size: int, choose: ActiveUnits) -> Layer:
    """The exact product at the units that are chosen, 0 at the others."""

    def layer(key: jax.Array, x: jax.Array, kernel: jax.Array) -> jax.Array:
        ids = choose(key, x, kernel, size)
        return jax.nn.relu(active_dense(x, kernel, None, ids, form="masked"))

    return layer


def _hashed_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    build_key, select_key = jax.random.split(key)
    tables = build(
        build_key,
        kernel.T,
        num_tables=theory.TABLES,
        num_bits=theory.BITS,
        num_powers=theory.POWERS,
        max_norm=theory.MAX_NORM,
    )
    return active_set(select_key, tables, x, size=size, select="union")


def _largest_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    return lax.top_k(x @ kernel, size)[1]


def _random_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    return lax.top_k(jax.random.uniform(key, (len(x), kernel.shape[1])), size)[1]
