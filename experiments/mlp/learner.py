"""The learner of a fully connected network that is trained block by block."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.data.dataset import Dataset
from experiments.mlp.config import MLPConfig
from experiments.mlp.hidden_layers import ChooseUnits, HiddenLayer, RefreshTables
from experiments.mlp.network import MLP, to_features
from experiments.process.checks import listed
from experiments.training.images import accuracy, image_feed, load_data
from experiments.training.learner import Learner, Metrics, State, Stream, stream
from experiments.training.precision import cast
from experiments.training.schedules import learning_rate
from experiments.training.task import Task, chosen_methods, notes_of
from jaxapprox import active_layers
from jaxapprox.active_layers import Active
from jaxapprox.adam import adam
from jaxapprox.lazy import apply_updates, lazy
from jaxapprox.lsh import active_dense

_MOMENTUM, _EPS = 0.9, 1e-4
_TABLES = 1 << 20  # apart from the layers' numbers, by which the initialisers' keys go


def make_task(config: MLPConfig, data: Dataset | None = None) -> Task[Dataset]:
    """The network of the only number of layers in `config`, on the data or on what was loaded of it.

    Raises:
        UsageError: if the data can't be had.
    """
    (layers,) = config.layers
    data = data or load_data(config, colour=False)
    notes = notes_of(
        config,
        f"Batch size {config.batch_size}, {config.optimizer}, learning rate {listed(config.lrs)},"
        f" {len(data.train.labels)} training images.",
    )
    title = f"MLP of {layers} x {config.width} on {data.name}"
    return Task(title, notes, data, chosen_methods(config), functools.partial(mlp_learner, data=data))


def make_optimizer(config: MLPConfig, steps: int) -> optax.GradientTransformation:
    """The optimizer of `--optimizer`, in its dense form, for a run of so many steps."""
    lr = learning_rate(config.schedule, config.lr, steps)
    return {
        "sgd": lambda: optax.sgd(lr),
        "momentum": lambda: optax.sgd(lr, momentum=_MOMENTUM),
        "adam": lambda: adam(lr, eps=_EPS),
    }[config.optimizer]()


def mlp_learner(config: MLPConfig, layer: HiddenLayer, data: Dataset) -> Learner:
    """The training of the network of the only number of layers in `config`, on data shaped like `data`.

    Args:
        config: the options, with one value of each.
        layer: how the hidden layers are trained.
        data: for its shapes and classes; its arrays are not captured.
    """
    (layers,) = config.layers
    model, example = MLP(layers, config.width, data.num_classes), to_features(data.train.images[:1])
    hidden = [f"hidden_{i}" for i in range(layers)]
    feed = image_feed(config, data)
    optimizer = lazy(make_optimizer(config, int(feed.steps.sum())))

    def laid_out(params: Any) -> dict[str, Any]:
        """The network's parameters as the layers keep them."""
        if not layer.by_units:
            return dict(params)
        own = {name: {"weights": params[name]["kernel"].T, "bias": params[name]["bias"]} for name in hidden}
        return {**params, **own}

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        params = laid_out(model.init(init_key, example)["params"])
        tables = {}
        for i, name in enumerate(hidden):
            if layer.tables is not None:
                tables[name] = layer.tables(jax.random.fold_in(init_key, _TABLES + i), params[name])
        return State(params, {}, tables, optimizer.init(params), stream_key, jnp.int32(0))

    def backward(state: State, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any, Any]:
        """The loss, its gradient in each layer's output, and each layer's pull-back."""
        key = stream(state, Stream.SAMPLE, state.step)
        params, inputs = cast((state.params, to_features(images)), config.dtype)
        x, pulls = Active(None, inputs), {}
        for i, name in enumerate(hidden):
            own_key, tables = jax.random.fold_in(key, i), state.tables.get(name)
            x, pulls[name] = layer.train(own_key, params[name], tables, x)
        logits, pulls["output"] = active_layers.dense(params["output"], x, activation=lambda z: z)
        loss, gradient = jax.value_and_grad(_loss)(logits, labels)
        gradients = {}
        for name in reversed(pulls):
            gradients[name] = gradient
            _, gradient = pulls[name](gradient)
        return loss, gradients, pulls

    def step(state: State, images: jax.Array, labels: jax.Array) -> tuple[State, Metrics]:
        loss, gradients, pulls = backward(state, images, labels)
        # The parameters' gradients wait until all of the network is read: the update then computes them as it goes,
        # and the parameters need no copy.
        gradients, params, opt_state = lax.optimization_barrier((gradients, state.params, state.opt_state))
        blocks = cast({name: pulls[name](gradients[name])[0] for name in pulls}, jnp.float32)
        updates, opt_state = optimizer.update(blocks, opt_state)
        params = apply_updates(params, updates)
        return state._replace(params=params, opt_state=opt_state, step=state.step + 1), Metrics(loss, {})

    def gradient(state: State, images: jax.Array, labels: jax.Array) -> Any:
        _, gradients, pulls = backward(state, images, labels)
        zeros = jax.tree.map(jnp.zeros_like, state.params)
        dense = apply_updates(zeros, {name: pulls[name](gradients[name])[0] for name in pulls})
        if not layer.by_units:
            return dense
        own = {name: {"kernel": dense[name]["weights"].T, "bias": dense[name]["bias"]} for name in hidden}
        return {**dense, **own}

    def with_params(state: State, params: Any, batch_stats: Any) -> State:
        own = laid_out(params)
        tables = state.tables if layer.refresh is None else rehash(layer.refresh, own, state.tables)[1]
        return state._replace(params=own, tables=tables)

    def evaluated(product: Callable[..., jax.Array], state: State, images: jax.Array, key: jax.Array) -> jax.Array:
        params, x = cast((state.params, to_features(images)), config.dtype)
        for i, name in enumerate(hidden):
            own, tables = params[name], state.tables.get(name)
            kernel = own["weights"].T if layer.by_units else own["kernel"]
            x = layer.activation(product(jax.random.fold_in(key, i), tables, x, kernel, own["bias"]))
        return x @ params["output"]["kernel"] + params["output"]["bias"][None]

    def logits(state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array:
        return evaluated(lambda key, tables, x, kernel, bias: x @ kernel + bias[None], state, images, key)

    def hashed_logits(choose: ChooseUnits, state: State, batch_stats: Any, images: Any, key: jax.Array) -> jax.Array:
        def product(key, tables, x, kernel, bias):
            return active_dense(x, kernel, bias, choose(key, tables, x), form="masked")

        return evaluated(product, state, images, key)

    def rehash(refresh: RefreshTables, params: Any, tables: Any) -> tuple[Any, Any]:
        return params, {name: refresh(own, params[name]) for name, own in tables.items()}

    evaluations = [accuracy("test_accuracy", logits)]
    if layer.choose is not None:
        evaluations.append(accuracy("test_accuracy_hashed", functools.partial(hashed_logits, layer.choose)))
    rehashes = None if layer.refresh is None else functools.partial(rehash, layer.refresh)
    return Learner(init, step, gradient, with_params, feed, tuple(evaluations), rehashes)


def _loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels).mean()
