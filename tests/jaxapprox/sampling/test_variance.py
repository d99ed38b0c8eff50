"""The noise that theory predicts against the noise that is measured."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import bernoulli, importance, predicted_variance, systematic, topk, uniform

EXACT = [uniform, importance, bernoulli]
KEYS = 40_000


def named(samplers):
    return pytest.mark.parametrize("sampler", samplers, ids=lambda s: s.__name__)


def terms(n, size, orthogonal):
    """n terms of `size` entries with skewed norms: `(n, size)`."""
    rng = np.random.default_rng(0)
    norms = np.exp(rng.normal(size=(n, 1)))
    t = np.eye(n, size) if orthogonal else rng.normal(size=(n, size)) + 0.5
    return np.float32(norms * t / np.linalg.norm(t, axis=1, keepdims=True))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _weights(sampler, scores, k):
    def draw(key):
        sample = sampler(key, scores, k)
        return jnp.zeros_like(scores).at[sample.indices].add(sample.weights)

    return jax.vmap(draw)(jax.random.split(jax.random.key(0), KEYS))


def squared_errors(sampler, t, k):
    """|y_hat - y|^2 of `KEYS` estimates of the sum of the terms, scored by their norms."""
    weights = np.float64(_weights(sampler, jnp.asarray(np.linalg.norm(t, axis=1)), k))
    return np.sum(((weights - 1) @ np.float64(t)) ** 2, axis=1)


def prediction(sampler, t, k, with_gram):
    scores = jnp.asarray(np.linalg.norm(t, axis=1))
    return float(predicted_variance(sampler, scores, k, gram=jnp.asarray(t @ t.T) if with_gram else None))


@named(EXACT)
@pytest.mark.parametrize("orthogonal", [True, False], ids=["orthogonal", "correlated"])
@pytest.mark.parametrize("k", [3, 6])
def test_prediction_is_exact(sampler, orthogonal, k):
    """The mean squared error is the predicted one. False alarms: 1e-4 over all 12 cases."""
    t = terms(12, 16, orthogonal)
    oracles.assert_mean(squared_errors(sampler, t, k), prediction(sampler, t, k, not orthogonal), 1e-4 / 12)


@named([*EXACT, systematic, topk])
def test_gram_of_orthogonal_terms_changes_nothing(sampler):
    """Without `gram` the terms are taken as orthogonal with the scores as norms."""
    t = terms(12, 16, orthogonal=True)
    np.testing.assert_allclose(prediction(sampler, t, 4, True), prediction(sampler, t, 4, False), rtol=1e-5)


@pytest.mark.parametrize("orthogonal", [True, False], ids=["orthogonal", "correlated"])
@pytest.mark.parametrize("k", [8, 32])
def test_systematic_prediction_within_ten_per_cent(orthogonal, k):
    """For 64 rows the approximation of the joint inclusion probabilities costs less than 10 %."""
    t = terms(64, 80, orthogonal)
    measured = squared_errors(systematic, t, k).mean()  # its own standard error is below 1 %
    np.testing.assert_allclose(prediction(systematic, t, k, not orthogonal), measured, rtol=0.1)


@pytest.mark.parametrize("k", [1, 4, 11])
def test_topk_prediction_is_its_squared_bias(k):
    """`topk` does not vary: its error is what it drops."""
    t = terms(12, 16, orthogonal=False)
    dropped = t[np.argsort(np.linalg.norm(t, axis=1))[: 12 - k]].sum(0)
    np.testing.assert_allclose(prediction(topk, t, k, True), np.sum(dropped**2), rtol=1e-4)


@pytest.mark.parametrize("k", [8, 32])
def test_systematic_beats_importance_on_skewed_scores(k):
    """Drawing without replacement never costs: less noise than `importance`, predicted and measured."""
    t = terms(64, 80, orthogonal=True)
    assert prediction(systematic, t, k, False) < prediction(importance, t, k, False)
    systematic_errors, importance_errors = (squared_errors(s, t, k) for s in (systematic, importance))
    assert systematic_errors.mean() < importance_errors.mean()


@named([*EXACT, systematic, topk])
def test_no_noise_when_everything_is_kept(sampler):
    """k = n predicts no error, but for `importance`, which draws with replacement."""
    predicted = prediction(sampler, terms(12, 16, orthogonal=False), 12, True)
    if sampler is importance:
        assert predicted > 0.1
    else:
        assert abs(predicted) < 1e-5


@named([*EXACT, systematic, topk])
def test_all_zero_scores_predict_no_noise(sampler):
    """Terms of norm zero add no noise, and no NaN."""
    assert float(predicted_variance(sampler, jnp.zeros(6), 2)) == 0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (dict(sampler=lambda key, scores, k: None), "sampler"),
        (dict(sampler="uniform"), "sampler"),
        (dict(gram=jnp.ones((5, 6))), "gram"),
        (dict(num_samples=0), "num_samples"),
        (dict(num_samples=7), "num_samples"),
        (dict(num_samples=2.0), "num_samples"),
        (dict(scores=jnp.ones((6, 1))), "scores"),
    ],
)
@named([uniform, systematic])
def test_bad_arguments_are_named(sampler, arguments, name):
    """Every bad argument is a ValueError that begins with its name, for any sampler."""
    arguments = {"sampler": sampler, "scores": jnp.ones(6), "num_samples": 2, "gram": None, **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        predicted_variance(**arguments)
