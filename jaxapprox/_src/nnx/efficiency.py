"""Whether approximating the layers of an NNX model pays, by the progress of training per second."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxapprox._src.checks import check_key
from jaxapprox._src.conversion.rules import Rules
from jaxapprox._src.efficiency.examples import check_examples
from jaxapprox._src.efficiency.measure import measure
from jaxapprox._src.efficiency.progress import LADDER, Efficiency
from jaxapprox._src.nnx.conversion import convert, copied
from jaxapprox._src.softmax.settings import SampledSoftmax

_STREAM = "sample"


def efficiency(
    model: nnx.Module,
    rules: Rules,
    loss: Callable[[Any, Any], jax.Array],
    examples: Any,
    *,
    key: jax.Array,
    keep_ends: bool = True,
    min_channels: int = 16,
    optimizer: optax.GradientTransformation | None = None,
    sizes: tuple[int, int] = (16, 64),
    ladder: Sequence[int] = LADDER,
    unbiased: bool = False,
) -> Efficiency:
    """Measures whether a model trains faster with its layers approximated by `rules`, all costs and noise counted.

    The model stays as it is: what calls change in it, such as statistics of batches, is computed and thrown away. Its
    streams have keys, the same for the exact and the approximated model. Hash tables are built once.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxapprox import MC
    >>> from jaxapprox.nnx import efficiency
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(*[nnx.Linear(n, m, rngs=rngs) for n, m in [(16, 32), (32, 32), (32, 4)]])
    >>> x = jax.random.normal(jax.random.key(0), (256, 16))
    >>> def loss(model, batch):
    ...     return ((model(batch) - batch[:, :4]) ** 2).mean()
    >>> found = efficiency(model, [("*", MC(ratio=0.5))], loss, x, key=jax.random.key(1))
    >>> list(found.noise.layers)
    ['layers/0', 'layers/1', 'layers/2']

    Args:
        model, rules, keep_ends, min_channels: as in `jaxapprox.nnx.convert`; in training mode.
        loss: the mean loss of a batch, given the model, or its approximated copy, and the batch.
        examples: a tree of arrays `(n, ...)` in random order, 512 or more of them for small errors.
        key: for draws and for the model's own streams.
        optimizer, sizes, ladder, unbiased: as in `jaxapprox.efficiency.measure`.

    Raises:
        ValueError: as by `jaxapprox.nnx.convert` and `jaxapprox.efficiency.measure`; or if the rules approximate no
            layer, or have a `SampledSoftmax`, for which `jaxapprox.efficiency.measure` takes two losses.
    """
    check_key(key)
    number = check_examples(examples)
    if any(isinstance(method, SampledSoftmax) for _, method in rules):
        raise ValueError(
            "rules must have no SampledSoftmax, whose model takes labels and the exact one does not: use"
            " jaxapprox.efficiency.measure with two losses"
        )
    measure_key, streams_key, convert_key = jax.random.split(key, 3)
    rngs = nnx.Rngs(**{_STREAM: convert_key})
    sampled, report = convert(
        model, rules, rngs=rngs, keep_ends=keep_ends, min_channels=min_channels, rng_collection=_STREAM
    )
    report.check_not_empty()
    exact_graph, *exact_states = nnx.split(copied(model), nnx.Param, ...)
    sampled_graph, *sampled_states = nnx.split(sampled, nnx.Param, ...)

    def exact_loss(params: Any, batch: Any) -> jax.Array:
        keys, batch = batch
        return loss(_merged(exact_graph, params, exact_states[1], keys[0], keys[0]), batch)

    def sampled_loss(key: jax.Array, params: Any, batch: Any) -> jax.Array:
        keys, batch = batch
        return loss(_merged(sampled_graph, params, sampled_states[1], keys[0], key), batch)

    return measure(
        measure_key,
        exact_loss,
        sampled_loss,
        exact_states[0],
        (jax.random.split(streams_key, number), examples),  # a batch's streams are those of its first example
        optimizer=optimizer,
        sizes=sizes,
        ladder=ladder,
        unbiased=unbiased,
    )


def _merged(graph: Any, params: Any, rest: Any, streams_key: jax.Array, draw_key: jax.Array) -> Any:
    """A model of which each stream has a key of its own, by its path: those of approximated layers of `draw_key`."""
    model = nnx.merge(graph, params, jax.tree.map(jnp.asarray, rest))  # new variables, for this trace may change them
    for path, stream in nnx.iter_graph(model):
        if isinstance(stream, nnx.RngStream):
            key = draw_key if stream.key.tag == _STREAM else streams_key
            key = jax.random.fold_in(key, zlib.crc32("/".join(map(str, path)).encode()))
            shape = stream.key[...].shape
            stream.key[...] = jax.random.split(key, shape) if shape else key
    return model
