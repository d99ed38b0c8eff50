"""Training of `experiments.mlp`: every method against plain Flax, autodiff and optax where it keeps everything."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick_compilation import jit
from small_digits import small_digits
from whole_run import whole_run

from experiments.data import load
from experiments.data.dataset import Split, grey
from experiments.mlp.config import METHODS, MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.mlp.network import MLP, to_features
from experiments.training.loop import make_train

CONFIG = MLPConfig(width=20, layers=(2,), epochs=2, lrs=(0.01,))
KEEP_ALL = dataclasses.replace(CONFIG, active=1.0, ratios=(1.0,), dropout_rate=0.0, keep_beta=100.0, keep_capacity=1.0)
REFERENCES = {
    "sgd": lambda: optax.sgd(CONFIG.lr),
    "momentum": lambda: optax.sgd(CONFIG.lr, momentum=0.9),
    "adam": lambda: optax.adam(CONFIG.lr, eps=1e-4),
}


def training(name, config, data):
    return make_train(config, mlp_learner(config, METHODS[name].layers(config), data), data)


def in_kernels(params):
    """Every layer's parameters in the layout of `nn.Dense`."""
    return {
        name: {"kernel": own["weights"].T if "weights" in own else own["kernel"], "bias": own["bias"]}
        for name, own in params.items()
    }


def assert_close(actual, expected, tolerance):
    def check(actual, expected):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)

    jax.tree.map(check, actual, expected)


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [*((name, "adam") for name in METHODS), ("standard", "sgd"), ("alsh", "sgd"), ("mc", "momentum")],
)
def test_keeping_everything_is_plain_training(method, optimizer):
    """Ten steps of each method, with everything active and nothing dropped, are those of Flax and optax."""
    config, data = dataclasses.replace(KEEP_ALL, optimizer=optimizer), small_digits()
    train = training(method, config, data)
    state = jit(train.init)(jax.random.key(0))
    model, reference = MLP(2, 20, 10), REFERENCES[optimizer]()
    params = in_kernels(state.params)
    opt_state = reference.init(params)

    def loss_of(params, image, label):
        logits = model.apply({"params": params}, to_features(image[None]))
        return optax.softmax_cross_entropy_with_integer_labels(logits, label[None]).mean()

    step, reference_step = jit(train.learner.step), jit(jax.value_and_grad(loss_of))
    for image, label in zip(data.train.images[:10], data.train.labels[:10], strict=True):
        state, metrics = step(state, image[None], label[None])
        loss, gradient = reference_step(params, image, label)
        updates, opt_state = reference.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5, atol=1e-6)
    assert_close(in_kernels(state.params), params, 1e-5)
    logits = model.apply({"params": params}, to_features(data.test.images))
    assert_close(
        train.learner.evaluations[0](state, {}, data.test)["test_accuracy"],
        jnp.mean(jnp.argmax(logits, -1) == data.test.labels),
        1e-6,
    )


@pytest.mark.parametrize("method", ["standard", "alsh", "mc", "adaptive_dropout_gathered"])
def test_whole_run_under_jit_and_vmap(method):
    """The run of two keys at once is that of each; every layer's weights have moved, and are finite."""
    config, data = dataclasses.replace(CONFIG, ratios=(0.5,), active=0.5, rehash_every=15), small_digits()
    train = training(method, config, data)
    keys = jax.random.split(jax.random.key(0), 2)
    states, metrics, accuracies = jit(jax.vmap(whole_run(train), in_axes=(0, None, None)))(keys, data.train, data.test)
    state, one_metrics, _ = jit(whole_run(train))(keys[1], data.train, data.test)
    np.testing.assert_allclose(one_metrics.loss, metrics.loss[1], rtol=1e-3)
    assert metrics.loss[0, 0] != metrics.loss[1, 0] and accuracies.shape == (2, CONFIG.epochs)
    start = jit(train.init)(keys[1])
    for name, own in state.params.items():
        for part in own:
            assert np.all(np.isfinite(own[part])) and np.any(own[part] != start.params[name][part]), (name, part)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a[1], e, rtol=1e-2, atol=1e-3), states.params, state.params)


def test_methods_of_a_seed_start_alike():
    """The same initial parameters and order of the images, whatever the method and the layout."""
    data = small_digits()
    inits = {name: jit(training(name, CONFIG, data).init)(jax.random.key(3)) for name in METHODS}
    for state in inits.values():
        assert_close(in_kernels(state.params), inits["standard"].params, 1e-6)
        assert jnp.array_equal(jax.random.key_data(state.key), jax.random.key_data(inits["standard"].key))


@pytest.mark.parametrize(("method", "batch"), [("standard", 8), ("dropout", 8), ("alsh", 8), ("mc", 8)])
def test_batches(method, batch):
    """Larger batches train, on a choice that the batch shares."""
    config = dataclasses.replace(CONFIG, batch_size=batch, ratios=(0.5,), active=0.5, epochs=1)
    data = small_digits()
    train = training(method, config, data)
    state, metrics = jit(train.epoch)(jit(train.init)(jax.random.key(0)), data.train, train.rounds[0])
    assert state.step == 5 and 1 < metrics.loss < 4


def test_grey_is_luminance():
    """0.299 R + 0.587 G + 0.114 B, rounded; images of one channel stay as they are."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (5, 4, 4, 3)), jnp.uint8)
    split = Split(images, jnp.zeros(5, jnp.int32))
    data = dataclasses.replace(load("digits"), train=split, test=split)
    expected = np.rint(np.float64(images) @ [0.299, 0.587, 0.114])[..., None]
    np.testing.assert_array_equal(grey(data).train.images, expected)
    assert grey(data).test.images.dtype == jnp.uint8
    digits = load("digits")
    assert grey(digits) is digits
