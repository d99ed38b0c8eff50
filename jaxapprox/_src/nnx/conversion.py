"""An existing NNX model with some of its layers approximated."""

from typing import Any

import jax
from flax import nnx

from jaxapprox._src.conversion.approximation import Approximation
from jaxapprox._src.conversion.rules import Report, Rules, decide
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.nnx.hashed import ALSHDense, StoredTables
from jaxapprox._src.nnx.inspection import layers_of, replace
from jaxapprox._src.nnx.sampled import MCConv, MCDense

_SHARED = ("in_features", "out_features", "use_bias", "dtype", "param_dtype")
_CONV = (*_SHARED, "kernel_size", "strides", "padding", "kernel_dilation")


def convert(
    model: nnx.Module,
    rules: Rules,
    *,
    rngs: nnx.Rngs,
    keep_ends: bool = True,
    min_channels: int = 16,
    rng_collection: str = "sample",
) -> tuple[Any, Report]:
    """A copy of a model in which the `nnx.Conv` and `nnx.Linear` layers that `rules` name are approximated.

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
        model: any NNX module. Subclasses of these layers, and layers of other kinds, are left alone. A layer whose
            parameters are stacked along leading axes (by `nnx.vmap`, for an `nnx.scan` over the layer's whole state)
            gets streams and tables that are stacked as well.
        rules: (pattern, method) pairs as in `jaxapprox.linen.convert`. Paths are attributes, indices and keys, joined
            by "/".
        rngs: with the stream that the layers draw from, each by a fork of its own.
        keep_ends: leave the first and the last layer exact, in the order in which the modules got their attributes,
            unless a rule without wildcards names them.
        min_channels: as in `jaxapprox.linen.convert`.
        rng_collection: the stream's name.

    Returns:
        The copy, and what was replaced in it, and what was not and why.

    Raises:
        ValueError: if `rngs` lacks the stream, or a rule is refused, as by `jaxapprox.linen.convert`.
    """
    report = decide(rules, layers_of(model, rules), keep_ends=keep_ends, min_channels=min_channels)
    methods = report.methods
    if methods and rng_collection not in rngs:
        raise ValueError(
            f"rngs must hold the stream {rng_collection!r}, from which {next(iter(methods))} draws"
            f" (layers approximated: {len(methods)}), got {', '.join(rngs) or 'none'}"
        )
    converted = nnx.clone(model)

    def replacement(path: str, node: Any) -> Any:
        return _approximate(node, methods[path], rng_collection, rngs) if path in methods else node

    replace(converted, replacement)
    return converted, report


def _approximate(layer: Any, method: Approximation, rng_collection: str, rngs: nnx.Rngs) -> nnx.Module:
    """The layer that replaces `layer`, with its parameters."""
    convolves = isinstance(layer, nnx.Conv)
    kind: Any = ALSHDense if isinstance(method, ALSH) else MCConv if convolves else MCDense
    own = {name: getattr(layer, name) for name in (_CONV if convolves else _SHARED)}
    stack = layer.kernel[...].shape[: -2 - len(layer.kernel_size) if convolves else -2]

    def make() -> Any:
        return kind(**own, rng_collection=rng_collection, rngs=nnx.Rngs({"params": 0, rng_collection: 0}))

    new = nnx.eval_shape(make)  # its arrays are replaced
    new.method = method
    new.kernel, new.bias = layer.kernel, layer.bias
    stream = rngs[rng_collection]
    new.rngs = nnx.RngStream(jax.random.split(stream(), stack) if stack else stream(), tag=rng_collection)
    if isinstance(method, ALSH):
        build = method.build
        for _ in stack:
            build = jax.vmap(build)
        keys = jax.random.split(stream(), stack) if stack else stream()
        new.tables = StoredTables(build(keys, layer.kernel[...].swapaxes(-1, -2)))
    return new
