"""The learner of a fully connected network that is trained block by block: on active sets of its units or inputs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from experiments.mlp.network import MLP, to_features
from experiments.training.loop import Learner, Metrics, State, Stream, stream
from jaxapprox import Sampler, active_layers, mc_dense
from jaxapprox.active_layers import Active, PullBack
from jaxapprox.blocks import EVERYTHING, vjp
from jaxapprox.lazy import apply_updates, lazy
from jaxapprox.lsh import active_dense, active_set, build, rebuild

_TABLES = 1 << 20  # apart from the layers' numbers, by which the initialisers' keys go


@dataclasses.dataclass(frozen=True)
class Method:
    """How the hidden layers are trained.

    Attributes:
        by_units: whether they keep `weights (units, in)` instead of a `kernel`: see `jaxapprox.active_layers`.
        layer: (key, params, tables, Active) -> (Active, pull-back), in training.
        tables: (key, params) -> what else a layer carries, made from its parameters; None for nothing.
        refresh: (tables, params) -> them, anew, at the beginning of a round; None for never.
        activation: (z) -> activations, in evaluation.
        choose: (key, tables, x) -> (batch, size), each example's active units, for evaluation through the hash.
    """

    by_units: bool
    layer: Callable[[jax.Array, Any, Any, Active], tuple[Active, PullBack]]
    tables: Callable[[jax.Array, Any], Any] | None = None
    refresh: Callable[[Any, Any], Any] | None = None
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    choose: Callable[[jax.Array, Any, jax.Array], jax.Array] | None = None


def dense(
    activation: Callable[[jax.Array, jax.Array], jax.Array], evaluation: Callable[[jax.Array], jax.Array] = nn.relu
) -> Method:
    """The exact layer, and what follows it in training, (key, z) -> activations, and in evaluation."""

    def layer(key, params, _, x):
        y, pull = active_layers.dense(params, x, activation=functools.partial(activation, key))
        return Active(None, y), pull

    return Method(by_units=False, layer=layer, activation=evaluation)


def hashed(*, size: int, select: str, rehashes: bool, **hashing: Any) -> Method:
    """ALSH-approx; `hashing` as `jaxapprox.lsh.build`."""

    def layer(key, params, tables, x):
        return active_layers.hashed(key, params, tables, x, size=size, activation=nn.relu, select=select)

    return Method(
        by_units=True,
        layer=layer,
        tables=lambda key, params: build(key, params["weights"], **hashing),
        refresh=(lambda tables, params: rebuild(tables, params["weights"])) if rehashes else None,
        choose=functools.partial(active_set, size=size, select=select),
    )


def sampled(*, ratio: float, sampler: Sampler) -> Method:
    """MC-approx, forward; the kernel's norms, which only say what matters, are those of the last refresh."""

    def layer(key, params, norms, x):
        return active_layers.sampled(key, params, norms, x, ratio=ratio, sampler=sampler, activation=nn.relu)

    def norms(params):
        return jnp.linalg.norm(params["kernel"], axis=1)

    return Method(
        by_units=False,
        layer=layer,
        tables=lambda key, params: norms(params),
        refresh=lambda tables, params: norms(params),
    )


def sampled_backward(*, ratio: float, sampler: Sampler) -> Method:
    """MC-approx, backward (Adelman et al.): exact but for the gradient in a layer's input."""

    def layer(key, params, _, x):
        def function(params, values):
            product = mc_dense(key, values, params["kernel"], ratio=ratio, sampler=sampler, mode="backward")
            return nn.relu(product + params["bias"][None])

        y, pull = vjp(function, params, jax.tree.map(lambda _: EVERYTHING, params), x.values)
        return Active(None, y), pull

    return Method(by_units=False, layer=layer)


def dropped(*, rate: float) -> Method:
    """Dropout."""
    return Method(
        by_units=True,
        layer=lambda key, params, _, x: active_layers.dropped(key, params, x, rate=rate, activation=nn.relu),
    )


def adaptively_dropped(*, keep: Callable[[jax.Array], jax.Array], rescales: bool, capacity: float) -> Method:
    """Adaptive dropout."""

    def layer(key, params, _, x):
        return active_layers.adaptively_dropped(key, params, x, keep=keep, capacity=capacity, activation=nn.relu)

    return Method(by_units=True, layer=layer, activation=lambda z: keep(z) * nn.relu(z) if rescales else nn.relu(z))


def learner(model: MLP, method: Method, optimizer: optax.GradientTransformation, example: jax.Array) -> Learner:
    """The training of `model` by `method`.

    Args:
        model: for its sizes and initialisers.
        method: from this module.
        optimizer: in its dense form; its lazy form is used.
        example: `(1, features)`.
    """
    hidden = [f"hidden_{i}" for i in range(model.layers)]
    optimizer = lazy(optimizer)

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        params = dict(model.init(init_key, example)["params"])
        tables = {}
        for i, name in enumerate(hidden):
            if method.by_units:
                params[name] = {"weights": params[name]["kernel"].T, "bias": params[name]["bias"]}
            if method.tables is not None:
                tables[name] = method.tables(jax.random.fold_in(init_key, _TABLES + i), params[name])
        return State(params, {}, tables, optimizer.init(params), stream_key, jnp.int32(0))

    def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        key = stream(state, Stream.SAMPLE, state.step)
        x, pulls = Active(None, to_features(images)), {}
        for i, name in enumerate(hidden):
            own_key, tables = jax.random.fold_in(key, i), state.tables.get(name)
            x, pulls[name] = method.layer(own_key, state.params[name], tables, x)
        logits, pulls["output"] = active_layers.dense(state.params["output"], x, activation=lambda z: z)
        loss, gradient = jax.value_and_grad(_loss)(logits, labels)
        gradients = {}
        for name in reversed(pulls):
            gradients[name] = gradient
            _, gradient = pulls[name](gradient)
        # The parameters' gradients wait until all of the network is read: the update then computes them as it goes,
        # and the parameters need no copy.
        gradients, params, opt_state = lax.optimization_barrier((gradients, state.params, state.opt_state))
        blocks = {name: pulls[name](gradients[name])[0] for name in pulls}
        updates, opt_state = optimizer.update(blocks, opt_state)
        params = apply_updates(params, updates)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Metrics(loss, {})

    def evaluated(layer: Callable[..., jax.Array], state: State, images: jax.Array, key: jax.Array) -> jax.Array:
        x = to_features(images)
        for i, name in enumerate(hidden):
            params, tables = state.params[name], state.tables.get(name)
            kernel = params["weights"].T if method.by_units else params["kernel"]
            x = method.activation(layer(jax.random.fold_in(key, i), tables, x, kernel, params["bias"]))
        return x @ state.params["output"]["kernel"] + state.params["output"]["bias"][None]

    def logits(state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array:
        return evaluated(lambda key, tables, x, kernel, bias: x @ kernel + bias[None], state, images, key)

    def hashed_logits(choose: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        def layer(key, tables, x, kernel, bias):
            return active_dense(x, kernel, bias, choose(key, tables, x), form="masked")

        return lambda state, batch_stats, images, key: evaluated(layer, state, images, key)

    def rehash(refresh: Callable[[Any, Any], Any], params: Any, tables: Any) -> tuple[Any, Any]:
        return params, {name: refresh(own, params[name]) for name, own in tables.items()}

    return Learner(
        init,
        step,
        logits,
        hashed_logits=None if method.choose is None else hashed_logits(method.choose),
        rehash=None if method.refresh is None else functools.partial(rehash, method.refresh),
    )


def _loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
