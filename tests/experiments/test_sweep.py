"""Sweeps from Python: every seed axis, several learning rates, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_compilation import jit
from small_digits import small_digits
from whole_run import whole_run

from experiments.mlp.config import METHODS, MLPConfig
from experiments.mlp.learner import make_task, mlp_learner
from experiments.process.errors import UsageError
from experiments.seeds import compiled
from experiments.sweep import sweep
from experiments.training.loop import make_train

CONFIG = MLPConfig(
    data="digits", images=60, width=12, layers=(2,), epochs=2, methods=("standard", "alsh"), active=0.3, rehash_every=7
)
KEYS = jax.random.split(jax.random.key(5), 3)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(compiled, "jit", jit)


@pytest.fixture(scope="module")
def data():
    return small_digits(60)


def test_every_axis_trains_alike(data):
    """Seeds in turn, at once, and in chunks with a short one at the end: the same, and what the pure run gives."""
    config = dataclasses.replace(CONFIG, methods=("alsh",))
    task = make_task(config, data)
    results = {
        axis: sweep(dataclasses.replace(config, seed_axis=kind, seeds_at_once=at_once), KEYS, task)
        for axis, kind, at_once in (("map", "map", 0), ("vmap", "vmap", 0), ("chunks", "vmap", 2))
    }
    for name, metrics in results["map"].items():
        assert metrics.train_loss.shape == metrics.test_accuracy.shape == metrics.train_seconds.shape == (3, 2)
        assert (metrics.test_accuracy_hashed is not None) == (name == "alsh")
        for other in ("vmap", "chunks"):
            np.testing.assert_allclose(results[other][name].train_loss, metrics.train_loss, rtol=2e-3)
            np.testing.assert_allclose(results[other][name].test_accuracy, metrics.test_accuracy, atol=1.5 / 11)
        train = make_train(CONFIG, mlp_learner(CONFIG, METHODS[name].layers(CONFIG), data), data)
        _, pure, accuracies = jit(jax.vmap(whole_run(train), in_axes=(0, None, None)))(KEYS, data.train, data.test)
        np.testing.assert_allclose(metrics.train_loss, pure.loss, rtol=2e-3)
        np.testing.assert_allclose(metrics.test_accuracy, accuracies, atol=1.5 / 11)


def test_learning_rates_share_a_program(data):
    """Two learning rates are one family, and each trains as it does alone."""
    config = dataclasses.replace(CONFIG, methods=("standard",), seed_axis="vmap", lrs=(1e-3, 1e-2))
    task = make_task(config, data)
    together = sweep(config, KEYS, task)
    assert list(together) == ["standard lr 0.001", "standard lr 0.01"]
    for name, lr in zip(together, config.lrs, strict=True):
        alone = sweep(dataclasses.replace(config, lrs=(lr,)), KEYS, task)["standard"]
        np.testing.assert_allclose(together[name].train_loss, alone.train_loss, rtol=2e-3)
    assert not np.allclose(*(metrics.train_loss for metrics in together.values()), rtol=0.05)


def test_sweep_refuses_what_are_no_keys():
    for keys in (jnp.zeros((3, 2), jnp.uint32), jax.random.key(0), jax.random.key(0, impl="rbg")[None], KEYS[:0]):
        with pytest.raises(ValueError, match="keys must be"):
            sweep(CONFIG, keys)
    with pytest.raises(UsageError, match="--epochs"):
        sweep(dataclasses.replace(CONFIG, epochs=0), KEYS)
