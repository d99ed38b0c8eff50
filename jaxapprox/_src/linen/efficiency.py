"""Whether approximating the layers of a Linen model pays, by the progress of training per second."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax
from flax import linen as nn

from jaxapprox._src.checks import check_key
from jaxapprox._src.conversion.rules import Rules
from jaxapprox._src.efficiency.examples import check_examples
from jaxapprox._src.efficiency.measure import measure
from jaxapprox._src.efficiency.progress import LADDER, Efficiency
from jaxapprox._src.hashing.alsh import ALSH
from jaxapprox._src.linen.conversion import convert
from jaxapprox._src.linen.converted import Converted
from jaxapprox._src.softmax.settings import SampledSoftmax

Loss = Callable[[Callable[..., Any], Any], jax.Array]
"""A function that applies the model, and a batch -> a scalar."""


def efficiency(
    model: nn.Module,
    rules: Rules,
    variables: Any,
    loss: Loss,
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

    Collections such as "batch_stats" are computed and thrown away. Streams such as "dropout" have keys, the same for
    the exact and the approximated model. Hash tables are built once, at the model's parameters.

    >>> import jax
    >>> import optax
    >>> from flax import linen as nn
    >>> from jaxapprox import MC
    >>> from jaxapprox.linen import efficiency
    >>> model = nn.Sequential([nn.Dense(32), nn.relu, nn.Dense(32), nn.relu, nn.Dense(10)])
    >>> x = jax.random.normal(jax.random.key(0), (256, 16))
    >>> labels = jax.random.randint(jax.random.key(1), (256,), 0, 10)
    >>> def loss(net, batch):
    ...     return optax.softmax_cross_entropy_with_integer_labels(net(batch[0]), batch[1]).mean()
    >>> rules = [("*", MC(ratio=0.5))]
    >>> variables = model.init(jax.random.key(2), x)
    >>> found = efficiency(model, rules, variables, loss, (x, labels), key=jax.random.key(3))
    >>> list(found.noise.layers)
    ['layers_0', 'layers_2', 'layers_4']

    Args:
        model, rules, keep_ends, min_channels: as in `jaxapprox.linen.convert`.
        variables: the model's, at any time of training.
        loss: the mean loss of a batch, given `net` and the batch; `net(*args, **kwargs)` calls the model, in training
            mode if it has one. Where the rules have a `SampledSoftmax`, `net` takes `labels` by that name as well.
        examples: a tree of arrays `(n, ...)` in random order, 512 or more of them for small errors.
        key: for draws and for the model's own streams.
        optimizer, sizes, ladder, unbiased: as in `jaxapprox.efficiency.measure`.

    Raises:
        ValueError: as by `jaxapprox.linen.convert` and `jaxapprox.efficiency.measure`; or if the rules approximate no
            layer, or the loss does not call `net`.
    """
    check_key(key)
    number = check_examples(examples)
    measure_key, streams_key, tables_key = jax.random.split(key, 3)
    examples = jax.random.split(streams_key, number), examples  # a batch's streams are those of its first example
    args, kwargs = _called_with(loss, examples[1])
    sampled = convert(model, rules, *args, keep_ends=keep_ends, min_channels=min_channels, **kwargs)
    sampled.report.check_not_empty()
    methods = sampled.report.methods
    exact: nn.Module | Converted = model
    softmax = {path: method for path, method in methods.items() if isinstance(method, SampledSoftmax)}
    if softmax:
        in_full = [(path, dataclasses.replace(method, size=None)) for path, method in softmax.items()]
        exact = convert(model, in_full, *args, **kwargs)
    params = variables["params"]
    others = {name: collection for name, collection in variables.items() if name != "params"}
    with_tables = others
    if any(isinstance(method, ALSH) for method in methods.values()) and "lsh" not in others:
        with_tables = {**others, "lsh": _tables(sampled, loss, variables, tables_key, examples)}

    def exact_loss(params: Any, batch: Any) -> jax.Array:
        keys, batch = batch
        return loss(functools.partial(_apply, exact, {"params": params, **others}, {"params": keys[0]}), batch)

    def sampled_loss(key: jax.Array, params: Any, batch: Any) -> jax.Array:
        keys, batch = batch
        rngs = {"params": keys[0], sampled.rng_collection: key}
        return loss(functools.partial(_apply, sampled, {"params": params, **with_tables}, rngs), batch)

    return measure(
        measure_key,
        exact_loss,
        sampled_loss,
        params,
        examples,
        optimizer=optimizer,
        sizes=sizes,
        ladder=ladder,
        unbiased=unbiased,
    )


class _Called(Exception):
    """The loss has called the model."""


def _called_with(loss: Loss, examples: Any) -> tuple[Any, Any]:
    """Shapes of what a loss calls the model with, without labels; nothing is computed."""

    def net(*args: Any, **kwargs: Any) -> Any:
        raise _Called(args, kwargs)

    try:
        jax.eval_shape(functools.partial(loss, net), examples)
    except _Called as called:
        args, kwargs = jax.tree.map(_shape_of, called.args)
        return args, {name: value for name, value in kwargs.items() if name != "labels"}
    raise ValueError("loss must call the net that it is given, got one that does not")


def _shape_of(value: Any) -> Any:
    return jax.ShapeDtypeStruct(value.shape, value.dtype) if isinstance(value, jax.Array) else value


def _apply(net: Any, variables: Mapping[str, Any], rngs: Any, *args: Any, **kwargs: Any) -> Any:
    mutable = [name for name in variables if name not in ("params", "lsh")]
    output, _ = net.apply(variables, *args, rngs=rngs, mutable=mutable, **kwargs)
    return output


def _tables(sampled: Converted, loss: Loss, variables: Any, key: jax.Array, examples: Any) -> Any:
    """The collection "lsh" at the model's parameters, which the loss's first call of the model builds."""
    params_key, draw_key = jax.random.split(key)
    rngs = {"params": params_key, sampled.rng_collection: draw_key}
    built = []

    def net(*args: Any, **kwargs: Any) -> Any:
        mutable = [name for name in variables if name != "params"]
        output, changed = sampled.apply(variables, *args, rngs=rngs, mutable=["lsh", *mutable], **kwargs)
        built.append(changed["lsh"])
        return output

    loss(net, jax.tree.map(lambda x: x[:1], examples[1]))
    return built[0]
