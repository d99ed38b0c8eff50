"""Advice on whether approximating the layers of a Linen model pays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxapprox._src.conversion.advice import Advice, check_thresholds, check_together, judge
from jaxapprox._src.conversion.recorder import Recorder
from jaxapprox._src.conversion.rules import Rules, decide
from jaxapprox._src.linen.efficiency import efficiency
from jaxapprox._src.linen.inspection import layers_of
from jaxapprox._src.linen.interception import intercepting
from jaxapprox._src.linen.naming import path_of
from jaxapprox._src.linen.products import PRODUCTS, call_with


def advise(
    model: nn.Module,
    rules: Rules,
    variables: Any,
    *args: Any,
    key: jax.Array,
    rngs: Any = None,
    keep_ends: bool = True,
    min_channels: int = 16,
    min_speedup: float = 1.1,
    max_error: float = 0.7,
    loss: Callable[[Any, Any], jax.Array] | None = None,
    examples: Any = None,
    **kwargs: Any,
) -> Advice:
    """Measures the layers that `convert` would approximate by `rules`, and says which of them to.

    The model is applied once, exactly; then each layer's first call is repeated alone on this machine, with its
    gradients, exact and approximated, and the error of its estimate predicted. To print the result shows all; its
    `rules` are for `convert`. Equal layers (shapes, dtype and settings) are timed once.

    >>> import jax
    >>> from flax import linen as nn
    >>> from jaxapprox import MC
    >>> from jaxapprox.linen import advise, convert
    >>> model = nn.Sequential([nn.Conv(32, (3, 3)), nn.relu, nn.Conv(64, (3, 3)), nn.relu, nn.Conv(10, (1, 1))])
    >>> x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    >>> variables = model.init(jax.random.key(1), x)
    >>> advice = advise(model, [("*", MC(ratio=0.5))], variables, x, key=jax.random.key(2))
    >>> sampled = convert(model, advice.rules, x)

    Args:
        model, rules, keep_ends, min_channels: as in `convert`; a layer that a rule without wildcards names is
            approximated whatever comes out, and so is the last one by a `SampledSoftmax`, which is not measured.
        variables: the model's. Errors depend on the weights: trained ones tell more than initial ones.
        *args, **kwargs: what the model is called with; a batch such as it will be trained on, in training mode.
        key: for hash tables, draws and cotangents.
        rngs: for the model's own streams, such as "dropout".
        min_speedup: exact over approximated time from which approximating pays.
        max_error: the largest relative error; at 0.7 the error has half of the product's energy.
        loss, examples: as in `jaxapprox.linen.efficiency`; with them the efficiency of the model as advised is
            measured as well, and printed below the table.

    Raises:
        ValueError: as for `convert`; or if a threshold is not a positive number, or a sampler states no
            second moments (see `jaxapprox.with_second_moments`).
    """
    check_thresholds(min_speedup, max_error)
    check_together(loss, examples)
    layers = [seen.layer for seen in layers_of(model, rules, "sample", *args, **kwargs)]
    report = decide(rules, layers, keep_ends=keep_ends, min_channels=min_channels)
    recorder = Recorder()

    def record(next_fun: Callable[..., Any], inputs: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
        kind, path = type(context.module), path_of(context.module)
        if context.method_name != "__call__" or kind not in PRODUCTS or path not in report.products:
            return next_fun(*inputs, **options)
        product = recorder.watched(path, PRODUCTS[kind].__name__, PRODUCTS[kind])
        return call_with(product, kind, context.module, *inputs, **options)

    with intercepting(record):
        state = [name for name in variables if name != "params"]
        jax.block_until_ready(model.apply(variables, *args, rngs=rngs, mutable=state, **kwargs))
    advice = judge(key, rules, report, recorder, min_speedup, max_error)
    if loss is None or not advice.rules:
        return advice
    whole_key = jax.random.fold_in(key, len(advice.layers))  # the layers have the keys before
    whole = efficiency(model, advice.rules, variables, loss, examples, key=whole_key)
    return dataclasses.replace(advice, efficiency=whole)
