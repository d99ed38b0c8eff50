"""The learner of the paper's CNN: loss by autodiff, BatchNorm, augmentation, SGD."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.cifar.config import Config
from experiments.cifar.kept_images import draw, first_norms, gradient_norms
from experiments.cifar.methods import CNNLayers
from experiments.cifar.network import ResNet
from experiments.data.augment import augment, to_float
from experiments.data.dataset import Dataset, Split
from experiments.training.images import accuracy, image_feed, load_data, shuffled_batches
from experiments.training.learner import Learner, Metrics, Renewal, State, Stream, stream
from experiments.training.schedules import learning_rate
from experiments.training.task import Task, chosen_methods, notes_of

FASTER_AT_ONCE = False  # kernels by seed make grouped convolutions of few channels, which leave accelerators idle
_IMAGES = 1 << 20  # apart from the layers' numbers


def make_task(config: Config) -> Task[Dataset]:
    """ResNet-18, or what `--blocks` makes of it, on the data.

    Raises:
        UsageError: if the data can't be had.
    """
    data = load_data(config)
    notes = notes_of(config, f"{len(data.train.labels)} training images.")
    make_learner = functools.partial(cnn_learner, data=data)
    title = f"{config.network}, on {data.name}"
    return Task(title, notes, data, chosen_methods(config), make_learner, faster_at_once=FASTER_AT_ONCE)


def make_model(config: Config, layers: CNNLayers, data: Dataset) -> ResNet:
    """The network, made of `layers`."""
    return ResNet(config.width, config.blocks, data.num_classes, layers.conv, layers.hidden, layers.output)


def cnn_learner(config: Config, layers: CNNLayers, data: Dataset) -> Learner:
    """The training of one network made of `layers`, on data shaped like `data`.

    Args:
        config: the options, with one value of each.
        layers: from a method of `experiments.cifar.methods`.
        data: for its shapes, sizes and augmentation; its arrays are not captured.
    """
    model = make_model(config, layers, data)
    feed = image_feed(config, data, numbered=layers.kept_images is not None)
    optimizer = _optimizer(config, int(feed.steps.sum()))
    crop_and_flip = functools.partial(augment, crop=data.crop, flip=data.flip)
    image_shape = data.train.images.shape[1:]
    keeps_scores = layers.scored_every > 1

    def init(init_key: jax.Array, stream_key: jax.Array) -> State:
        variables = model.init(init_key, jnp.zeros((1, *image_shape)), train=True, exact=True)
        opt_state = optimizer.init(variables["params"])
        tables = variables.get("lsh", {})
        if layers.kept_images is not None:
            tables = first_norms(len(data.train.labels))
        if keeps_scores:
            tables = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(first_scores, variables))
        return State(variables["params"], variables["batch_stats"], tables, opt_state, stream_key, jnp.int32(0))

    def first_scores(variables: Any) -> Any:
        batch = jnp.zeros((config.batch_size, *image_shape), config.dtype)
        rngs = {"sample": jax.random.key(0)}
        return model.apply(variables, batch, train=False, exact=False, rngs=rngs, mutable=["scores"])[1].get(
            "scores", {}
        )

    def to_inputs(images: jax.Array) -> jax.Array:
        return to_float(images).astype(config.dtype)

    def variables_of(state: State, params: Any, batch_stats: Any) -> dict[str, Any]:
        kept = {"lsh": state.tables} if layers.hashes else {"scores": state.tables} if keeps_scores else {}
        return {"params": params, "batch_stats": batch_stats, **kept}

    def backward(
        state: State, images: jax.Array, labels: jax.Array, weights: jax.Array | None = None, *, scoring: bool = False
    ) -> Any:
        """The loss and what else the forward pass found, (updated collections, logits); and the gradient."""
        images = to_inputs(images)
        mutable = ["batch_stats", "diagnostics", *(["scores"] if scoring else [])]

        def loss_of(params):
            variables = variables_of(state, params, state.batch_stats)
            rngs = {} if layers.exact else {"sample": stream(state, Stream.SAMPLE, state.step)}
            logits, updated = model.apply(variables, images, train=True, exact=layers.exact, rngs=rngs, mutable=mutable)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.mean(losses if weights is None else weights * losses), (updated, logits)

        return jax.value_and_grad(loss_of, has_aux=True)(state.params)

    def augmented(state: State, images: jax.Array) -> jax.Array:
        return crop_and_flip(stream(state, Stream.AUGMENT, state.step), images)

    def step(state: State, examples: Any, labels: jax.Array, *, scoring: bool = False) -> tuple[State, Metrics]:
        if layers.kept_images is None:
            (loss, (updated, _)), grads = backward(state, augmented(state, examples), labels, scoring=scoring)
            tables = updated.get("scores", state.tables)
        else:
            images, numbers = examples
            places, weights = draw(_draw_key(state), state.tables[numbers], layers.kept_images)
            images, labels, numbers = images[places], labels[places], numbers[places]
            (loss, (updated, logits)), grads = backward(state, augmented(state, images), labels, weights)
            tables = state.tables.at[numbers].set(gradient_norms(logits, labels))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        diagnostics = {name: sown["alsh"] for name, sown in updated.get("diagnostics", {}).items()}
        state = State(params, updated["batch_stats"], tables, opt_state, state.key, state.step + 1)
        return state, Metrics(loss, diagnostics)

    def gradient(state: State, images: jax.Array, labels: jax.Array) -> Any:
        if layers.kept_images is None:
            return backward(state, images, labels, scoring=keeps_scores)[1]
        (_, (_, logits)), _ = backward(state, images, labels)  # by the norms as they are, not as they were
        places, weights = draw(_draw_key(state), gradient_norms(logits, labels), layers.kept_images)
        return backward(state, images[places], labels[places], weights)[1]

    def with_params(state: State, params: Any, batch_stats: Any) -> State:
        state = state._replace(params=params, batch_stats=batch_stats)
        return state if layers.rehash is None else state._replace(tables=layers.rehash(params, state.tables)[1])

    def recalibrate(state: State, train: Split) -> Any:
        """The mean of the statistics of some batches under the exact forward (in the place of a running mean)."""
        order_key, augment_key = jax.random.split(stream(state, Stream.RECALIBRATE, state.step))
        batches = shuffled_batches(order_key, config, data)

        def add(stats, numbered):
            i, batch = numbered
            images = to_inputs(crop_and_flip(jax.random.fold_in(augment_key, i), train.images[batch]))
            variables = variables_of(state, state.params, stats)
            _, updated = model.apply(
                variables, images, train=True, exact=True, momentum=i / (i + 1), mutable=["batch_stats"]
            )
            return updated["batch_stats"], None

        count = min(config.recalibration_batches, len(batches))
        return lax.scan(add, state.batch_stats, (jnp.arange(count), batches[:count]))[0]

    def logits(exact: bool, state: State, batch_stats: Any, images: jax.Array, key: jax.Array) -> jax.Array:
        variables = variables_of(state, state.params, batch_stats)
        rngs = {} if exact else {"sample": key}
        return jnp.asarray(model.apply(variables, to_inputs(images), train=False, exact=exact, rngs=rngs))

    evaluations = [accuracy("test_accuracy", functools.partial(logits, True))]
    if layers.hashes:
        evaluations.append(accuracy("test_accuracy_hashed", functools.partial(logits, False)))
    recalibrates = config.recalibrate and not layers.exact_statistics
    return Learner(
        init,
        step,
        gradient,
        with_params,
        feed,
        tuple(evaluations),
        rehash=layers.rehash,
        recalibrate=recalibrate if recalibrates else None,
        renewal=Renewal(layers.scored_every, functools.partial(step, scoring=True)) if keeps_scores else None,
    )


def _draw_key(state: State) -> jax.Array:
    """Of the draw of images, apart from those of the layers."""
    return jax.random.fold_in(stream(state, Stream.SAMPLE, state.step), _IMAGES)


def _optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    decayed = functools.partial(jax.tree.map, lambda p: p.ndim > 1)  # kernels, not biases and normalisation
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decayed),
        optax.sgd(learning_rate(config.schedule, config.lr, steps), momentum=config.momentum, nesterov=True),
    )
