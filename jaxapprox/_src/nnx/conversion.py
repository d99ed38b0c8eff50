"""An existing NNX model with some of its layers approximated."""

import copy
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxapprox._src.conversion.rules import Report, Rules, decide
from jaxapprox._src.nnx.inspection import layers_of, module_at
from jaxapprox._src.nnx.random_module import stream_of
from jaxapprox._src.nnx.replacement import approximate


def convert(
    model: nnx.Module,
    rules: Rules,
    *args: Any,
    rngs: nnx.Rngs,
    keep_ends: bool = True,
    min_channels: int = 16,
    rng_collection: str = "sample",
    **kwargs: Any,
) -> tuple[Any, Report]:
    """A copy of a model in which the layers that `rules` name are approximated.

    Those are the layers of types `nnx.Conv`, `nnx.ConvTranspose`, `nnx.Linear`, `nnx.LinearGeneral` and `nnx.Einsum`;
    Flax's attention is made of them. What would replace a layer is tried, without computing anything, and what that
    raises is why the layer can't be replaced.

    The copy has the parameters' values at the paths where the model has them, so a state of either loads into the other
    (`nnx.update(copy, nnx.state(model, nnx.Param))`), and no array in common with it that training could change. Its
    approximated layers are in training mode; `eval()` makes them exact.

    >>> from flax import nnx
    >>> from jaxapprox import MC
    >>> from jaxapprox.nnx import convert
    >>> rngs = nnx.Rngs(params=0, sample=1)
    >>> sizes = [(64, 128), (128, 128), (128, 10)]
    >>> model = nnx.Sequential(*[nnx.Linear(n, m, rngs=rngs) for n, m in sizes])
    >>> sampled, report = convert(model, [("layers/*", MC(ratio=0.25))], rngs=rngs)
    >>> print(report)
    layer     kind    in   out  becomes         why
    --------  ------  ---  ---  --------------  ---------------------------
    layers/0  Linear  64   128  exact           the first layer (keep_ends)
    layers/1  Linear  128  128  MC(ratio=0.25)
    layers/2  Linear  128  10   exact           the last layer (keep_ends)

    Args:
        model: any NNX module, or an abstract one, as `nnx.eval_shape` gives; the copy is then abstract too. Subclasses
            of these layers, and layers of other kinds, are left alone. A layer whose parameters are stacked along
            leading axes (by `nnx.vmap`, for an `nnx.scan` over the layer's whole state) gets streams and tables that
            are stacked as well.
        rules: (pattern, method) pairs as in `jaxapprox.linen.convert`. Paths are attributes, indices and keys, joined
            by "/". A model whose last layer is replaced by a `SampledSoftmax` returns its loss where it is called by
            `call_with_labels`, and exact logits elsewhere.
        *args, **kwargs: what the model is called with, for example; arrays may be `jax.ShapeDtypeStruct`. A
            `SampledSoftmax` needs them, to see which layer's output is the model's. Nothing is computed with them.
        rngs: with the stream that the layers draw from, each by a fork of its own.
        keep_ends: leave the first and the last layer exact, unless a rule without wildcards names them, or a
            `SampledSoftmax` is for the last. The order is that in which modules got their attributes, or by name where
            NNX has sorted them, as `nnx.merge` and `nnx.eval_shape` do.
        min_channels: as in `jaxapprox.linen.convert`.
        rng_collection: the stream's name.

    Returns:
        The copy, and what was replaced in it, and what was not and why.

    Raises:
        ValueError: if `rngs` lacks the stream, or a rule is refused, as by `jaxapprox.linen.convert`.
    """
    report = decide(rules, layers_of(model, rules, *args, **kwargs), keep_ends=keep_ends, min_channels=min_channels)
    methods = report.methods
    keys = {}
    if methods:
        user = f"{next(iter(methods))} (layers approximated: {len(methods)})"
        stream = stream_of(rngs, rng_collection, user)
        keys = {path: jnp.stack([stream(), stream()]) for path in methods}
    converted = copied(model)

    def approximated(model: Any, keys: dict[str, jax.Array]) -> Any:
        for path, method in methods.items():
            approximate(module_at(model, path), method, rng_collection, keys[path])
        return model

    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(nnx.state(model))):
        return nnx.eval_shape(approximated, converted, keys), report
    return approximated(converted, keys), report


def copied(model: nnx.Module) -> Any:
    """A model like another, with arrays of its own."""
    graph, state = nnx.split(model)
    return nnx.merge(graph, jax.tree.map(_copied_leaf, state))


def _copied_leaf(leaf: Any) -> Any:
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else copy.copy(leaf)
