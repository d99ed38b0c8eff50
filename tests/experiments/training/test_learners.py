"""What every learner offers beside its step: the gradient at any parameters, steps that end early, schedules."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick_compilation import jit
from small_digits import small_digits

from experiments.cifar.config import METHODS as CNN_METHODS
from experiments.cifar.config import Config
from experiments.cifar.kept_images import draw, first_norms, gradient_norms
from experiments.cifar.learner import cnn_learner
from experiments.mlp.config import METHODS as MLP_METHODS
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.process.errors import UsageError
from experiments.training.images import image_feed
from experiments.training.schedules import learning_rate

RATE = 0.25
CNN = Config(
    width=2, blocks=(1,), epochs=1, batch_size=8, lrs=(RATE,), schedule="constant", momentum=0.0, weight_decay=0.0
)
PERCEPTRON = MLPConfig(width=20, layers=(2,), epochs=1, lrs=(RATE,), optimizer="sgd", ratios=(0.5,))


def learner_of(config, method, data):
    if isinstance(config, Config):
        return cnn_learner(config, CNN_METHODS[method].layers(config), data)
    return mlp_learner(config, MLP_METHODS[method].layers(config), data)


@pytest.mark.parametrize(
    ("config", "method", "reference"),
    [
        (CNN, "exact", "exact"),
        (CNN, "mc", "exact"),
        (CNN, "alsh", "exact"),
        (PERCEPTRON, "mc", "standard"),
        (PERCEPTRON, "alsh", "standard"),
        (PERCEPTRON, "dropout_gathered", "standard"),
    ],
)
def test_a_step_of_plain_sgd_descends_the_gradient(config, method, reference):
    """At parameters of the exact network, whatever the layout in which the method keeps them."""
    data = dataclasses.replace(small_digits(), crop=0, flip=False)  # a gradient is that of the images as they are
    learner, exact = learner_of(config, method, data), learner_of(config, reference, data)
    keys = jax.random.split(jax.random.key(5))
    params = jit(exact.init)(*jax.random.split(jax.random.key(6))).params
    state = jit(learner.init)(*keys)
    state = jit(learner.with_params)(state, params, state.batch_stats)
    images, labels = (a[: config.batch_size] for a in data.train)
    gradient = jit(learner.gradient)(state, images, labels)
    assert jax.tree.map(jnp.shape, gradient) == jax.tree.map(jnp.shape, params)
    expected = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
    wanted = jit(learner.with_params)(state, expected, state.batch_stats).params
    after = jit(learner.step)(state, images, labels)[0].params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), after, wanted)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state.params), strict=True))


def test_kept_images_weigh_their_loss_right():
    """z-tests of 20 images at 4.5 standard errors, false alarm below 2e-4; a share of 1 keeps each at weight 1."""
    norms, draws = jnp.linspace(0.0, 1.4, 20), 4_000

    def weight_of_each(key):
        places, weights = draw(key, norms, 0.4)
        return jnp.zeros(20).at[places].add(weights * 20 / len(places))

    each = jit(jax.vmap(weight_of_each))(jax.random.split(jax.random.key(0), draws))
    error = np.maximum(np.std(each, 0), 1e-6) / draws**0.5
    assert np.all(np.abs(np.mean(each, 0) - 1) < 4.5 * error + 1e-6)
    assert np.mean(each[:, -1] > 0) > 2 * np.mean(each[:, 0] > 0)
    places, weights = draw(jax.random.key(1), norms, 1.0)
    np.testing.assert_array_equal(np.sort(places), np.arange(20))
    np.testing.assert_array_equal(weights, 1)


def test_gradient_norms_are_those_of_autodiff():
    logits, labels = jax.random.normal(jax.random.key(0), (7, 5)), jnp.arange(7) % 5

    def loss(logits):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    expected = np.linalg.norm(jax.grad(loss)(logits), axis=-1)
    np.testing.assert_allclose(gradient_norms(logits, labels), expected, rtol=1e-4)


def test_norms_of_the_kept_images_alone_are_kept():
    data = small_digits()
    config = dataclasses.replace(CNN, ratios=(0.5,))
    learner = learner_of(config, "norms", data)
    state = jit(learner.init)(*jax.random.split(jax.random.key(0)))
    take = learner.feed.batches(state, data.train, jnp.int32(0))
    (images, numbers), labels = take(jnp.int32(0))
    np.testing.assert_array_equal(images, data.train.images[numbers])
    new, _ = jit(learner.step)(state, (images, numbers), labels)
    changed = np.flatnonzero(new.tables != first_norms(len(data.train.labels)))
    assert len(changed) == 4 and set(changed) <= set(np.asarray(numbers))


def test_steps_end_in_the_last_epoch():
    data = small_digits()  # 40 images: 5 steps
    config = dataclasses.replace(CNN, epochs=3, steps=12)
    np.testing.assert_array_equal(image_feed(config, data).steps, [5, 5, 2])
    for steps in (10, 16):
        with pytest.raises(UsageError, match=rf"--steps must end in the last of --epochs, from 11 to 15, got {steps}"):
            image_feed(dataclasses.replace(config, steps=steps), data)


def test_schedules():
    assert learning_rate("constant", 0.3, 10) == 0.3
    for name, first in (("cosine", 1.0), ("onecycle", 1 / 25)):
        rate = learning_rate(name, 0.3, 100)
        assert np.isclose(rate(0), first * 0.3) and rate(99) < 1e-3
    assert np.isclose(learning_rate("onecycle", 0.3, 100)(25), 0.3)
