"""Advice on whether approximating the layers of an NNX model pays."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxapprox._src.conversion.advice import Advice, check_thresholds, check_together, judge
from jaxapprox._src.conversion.recorder import Recorder
from jaxapprox._src.conversion.rules import Rules, decide
from jaxapprox._src.estimates.contraction import Estimated
from jaxapprox._src.estimates.mc import MC
from jaxapprox._src.nnx.efficiency import efficiency
from jaxapprox._src.nnx.inspection import layers_of, module_at
from jaxapprox._src.nnx.random_module import Keys
from jaxapprox._src.nnx.replacement import approximate


def advise(
    model: nnx.Module,
    rules: Rules,
    *args: Any,
    key: jax.Array,
    keep_ends: bool = True,
    min_channels: int = 16,
    min_speedup: float = 1.1,
    max_error: float = 0.7,
    loss: Callable[[Any, Any], jax.Array] | None = None,
    examples: Any = None,
    **kwargs: Any,
) -> Advice:
    """Measures the layers that `convert` would approximate by `rules`, and says which of them to.

    A copy of the model is called once, exactly; everything else is as in `jaxapprox.linen.advise`.

    >>> import jax
    >>> from flax import nnx
    >>> from jaxapprox import MC
    >>> from jaxapprox.nnx import advise, convert
    >>> rngs = nnx.Rngs(params=0, sample=1)
    >>> model = nnx.Sequential(*[nnx.Linear(n, m, rngs=rngs) for n, m in [(64, 128), (128, 128), (128, 10)]])
    >>> x = jax.random.normal(jax.random.key(0), (32, 64))
    >>> advice = advise(model, [("*", MC(ratio=0.25))], x, key=jax.random.key(2))
    >>> sampled, report = convert(model, advice.rules, rngs=rngs)

    Args:
        model: in training mode if it is to be trained. Errors depend on its weights: trained ones tell more than
            initial ones.
        rules, keep_ends, min_channels: as in `convert`; a layer that a rule without wildcards names is approximated
            whatever comes out, and so is the last one by a `SampledSoftmax`, which is not measured.
        *args, **kwargs: what the model is called with; a batch such as it will be trained on.
        key, min_speedup, max_error: as in `jaxapprox.linen.advise`.
        loss, examples: as in `jaxapprox.nnx.efficiency`; with them the efficiency of the model as advised is measured
            as well, and printed below the table.

    Raises:
        ValueError: as for `jaxapprox.linen.advise`.
    """
    check_thresholds(min_speedup, max_error)
    check_together(loss, examples)
    report = decide(rules, layers_of(model, rules, *args, **kwargs), keep_ends=keep_ends, min_channels=min_channels)
    recorder = Recorder()
    watched: Any = nnx.clone(model)
    for path in report.products:
        layer = module_at(watched, path)
        approximate(layer, MC(), "sample", jax.random.split(jax.random.key(0)))
        layer.deterministic = True
        layer.call_product = functools.partial(_watched, recorder, path)
    jax.block_until_ready(watched(*args, **kwargs))
    advice = judge(key, rules, report, recorder, min_speedup, max_error)
    if loss is None or not advice.rules:
        return advice
    whole_key = jax.random.fold_in(key, len(advice.layers))  # the layers have the keys before
    whole = efficiency(model, advice.rules, loss, examples, key=whole_key)
    return dataclasses.replace(advice, efficiency=whole)


def _watched(
    recorder: Recorder, path: str, product: Callable[..., Estimated], deterministic: bool | None, rngs: Keys | None
) -> Callable[..., jax.Array]:
    """`SampledModule.call_product` for a layer that stays exact and is recorded."""
    return recorder.watched(
        path, product.__name__, lambda *args, **kwargs: product(MC(), None, None, *args, **kwargs)[0]
    )
