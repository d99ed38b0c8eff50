"""The conversion of a Linen model by rules."""

import inspect
from typing import Any

from flax import linen as nn

from jaxapprox._src.conversion.rules import Rules, decide
from jaxapprox._src.linen.converted import Conversion, Converted
from jaxapprox._src.linen.inspection import layers_of


def convert(
    model: nn.Module,
    rules: Rules,
    *args: Any,
    keep_ends: bool = True,
    min_channels: int = 16,
    rng_collection: str = "sample",
    **kwargs: Any,
) -> Converted:
    """Approximates the layers of a model that `rules` name, without touching it.

    Those are the layers of types `nn.Conv`, `nn.ConvTranspose`, `nn.Dense`, `nn.DenseGeneral` and `nn.Einsum`; Flax's
    attention is made of them. What would replace a layer is tried, without computing anything, and what that raises is
    why the layer can't be replaced.

    >>> import jax
    >>> from flax import linen as nn
    >>> from jaxapprox import MC
    >>> from jaxapprox.linen import convert
    >>> model = nn.Sequential([nn.Conv(32, (3, 3)), nn.relu, nn.Conv(64, (3, 3)), nn.relu, nn.Conv(10, (1, 1))])
    >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    >>> sampled = convert(model, [("*", MC(ratio=0.5))], x)
    >>> print(sampled.report)
    layer     kind  in  out  becomes        why
    --------  ----  --  ---  -------------  ---------------------------
    layers_0  Conv  3   32   exact          the first layer (keep_ends)
    layers_2  Conv  32  64   MC(ratio=0.5)
    layers_4  Conv  64  10   exact          the last layer (keep_ends)
    >>> variables = model.init(jax.random.key(1), x)
    >>> sampled.apply(variables, x, rngs={"sample": jax.random.key(2)}).shape
    (2, 8, 8, 10)

    Args:
        model: any Linen module; its subclasses of these layers, and layers of other kinds, are left alone.
        rules: (pattern, method) pairs; the first whose pattern matches a layer's path decides about it. Patterns are
            those of `fnmatch` on the whole path, in which `*` matches "/" as well. A method is an `MC`, an `ALSH` (for
            `nn.Dense` alone), a `SampledSoftmax` (for the layer whose output is the model's, an `nn.Dense` or the
            `attend` of an `nn.Embed`), or None, which leaves the layer exact. A rule with a wildcard is optional for
            each layer: it passes over layers that can't be replaced, the first and the last (if `keep_ends`), and
            layers with few channels. A rule without a wildcard is mandatory: it replaces the last two kinds as well,
            and it is an error where the layer can't be replaced.
        *args, **kwargs: what the model is called with, for example; arrays may be `jax.ShapeDtypeStruct`. Nothing is
            computed with them.
        keep_ends: leave the first and the last layer exact, unless a rule without wildcards names them, or a
            `SampledSoftmax` is for the last.
        min_channels: rules with wildcards pass over layers with fewer input channels for `MC` (output channels in mode
            "backward"; both within a group, and all contracted axes together) or fewer units for the others.
        rng_collection: the RNG stream that the layers draw from.

    Raises:
        ValueError: if a rule is no such pair, matches no layer (the nearest paths are named), matches only layers that
            earlier rules took, or replaces none of those it matches (each is named, with the reason), unless it has a
            wildcard and one of them can't be replaced for how it was made; or if a `SampledSoftmax` is to be given
            labels in a model whose call has an argument of that name.
    """
    seen = layers_of(model, rules, rng_collection, *args, **kwargs)
    report = decide(rules, [s.layer for s in seen], keep_ends=keep_ends, min_channels=min_channels)
    unreached = {s.layer.path for s in seen if not s.has_stream} & set(report.methods)
    conversion = Conversion(model, report, rng_collection, frozenset(unreached))
    if conversion.takes_labels and "labels" in inspect.signature(type(model).__call__).parameters:
        raise ValueError(
            f"model must have no argument labels of its own for a SampledSoftmax, got {type(model).__name__}: use"
            " jaxapprox.linen.SampledSoftmaxDense in the model"
        )
    return Converted(conversion, parent=None)
