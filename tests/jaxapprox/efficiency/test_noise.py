"""Signal, noise and bias of gradients against closed forms, and against sums over pairs of batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxapprox._src.efficiency.moments import Products, moments, statistics
from jaxapprox.efficiency import gradient_noise

_KEY = jax.random.key(0)
_SIZES = (4, 16)


def _exact(params, batch):
    """The gradient of the mean of |params - example|^2 / 2."""
    return jax.tree.map(lambda p, z: p - z.mean(0), params, batch)


def _examples(seed, number, mean, deviation=1.0):
    rng = np.random.default_rng(seed)
    return {
        "first": {"kernel": np.float32(mean + deviation * rng.normal(size=(number, 3)))},
        "second": {"kernel": np.float32(rng.normal(size=(number, 5)) + 1), "bias": np.float32(rng.normal(size=number))},
    }


_PARAMS = {"first": {"kernel": jnp.zeros(3)}, "second": {"kernel": jnp.zeros(5), "bias": jnp.zeros(())}}


def test_closed_forms():
    """Examples dropped with weights (a), a factor that a batch shares (c), and a mean that is off, all at once.

    Each estimate is a z-test at 4.9 of its errors: the probability that one fails on correct code is 10^-6.
    """
    keep, scale, spread = 0.5, 0.8, 0.3
    offset = {"first": {"kernel": 0.5}, "second": {"kernel": 0.0, "bias": -0.2}}

    def sampled(key, params, batch):
        drop_key, factor_key = jax.random.split(key)
        kept = jax.random.bernoulli(drop_key, keep, batch["second"]["bias"].shape) / keep
        weighed = jax.tree.map(lambda p, z: jnp.tensordot(kept, p[None] - z, 1) / len(z), params, batch)
        factor = 1 + spread * jax.random.normal(factor_key)
        return jax.tree.map(lambda g, o: factor * (scale * g + o), weighed, offset)

    noise = gradient_noise(_KEY, _exact, sampled, _PARAMS, _examples(1, 400 * 16, 0.3, 2.0), sizes=_SIZES)
    assert noise.groups == 400 and list(noise.layers) == ["first", "second"]
    of_first = np.full(3, -0.3), 3 * 2.0**2, np.full(3, 0.5)
    of_second = np.append(np.zeros(1), np.full(5, -1.0)), 6.0, np.array([-0.2, 0, 0, 0, 0, 0])
    of_all = tuple(np.append(a, b) if np.ndim(a) else a + b for a, b in zip(of_first, of_second, strict=True))
    found = [noise.layers["first"], noise.layers["second"], noise.total]
    for (mean, variance, off), moment in zip((of_first, of_second, of_all), found, strict=True):
        signal, sampled_mean = mean @ mean, scale * mean + off
        dropped = (1 / keep - 1) * (variance + signal) / variance
        expected = {
            "signal": signal,
            "variance": variance,
            "noise_scale": variance / signal,
            "a": (1 + spread**2) * scale**2 * (1 + dropped) - 1,
            "c": spread**2 * (sampled_mean @ sampled_mean) / signal,
            "bias": (sampled_mean - mean) @ (sampled_mean - mean) / signal,
            "cosine": mean @ sampled_mean / np.sqrt(signal * (sampled_mean @ sampled_mean)),
        }
        for name, value in expected.items():
            estimate = getattr(moment, name)
            assert estimate.error < 0.5 * max(1, value), name
            assert abs(estimate.value - value) < 4.9 * estimate.error, name


def _slow(examples, sizes, leave_out=None):
    """The estimates by their definitions, for the sampled gradient 0.5 g + 0.1 g^2: sums over pairs of batches."""
    z = np.float64(examples).reshape(-1, sizes[1], examples.shape[1])
    z = np.delete(z, leave_out, 0) if leave_out is not None else z
    found = []
    for size in sizes:
        g = -z[:, : 2 * size].reshape(-1, size, z.shape[2]).mean(1)  # two small batches in a large one
        s = 0.5 * g + 0.1 * g**2
        pairs = [(i, j) for i in range(len(g)) for j in range(len(g)) if i != j]
        means = [np.mean([a[i] @ b[j] for i, j in pairs]) for a, b in ((g, g), (g, s), (s, s))]
        found.append((*means, np.mean([a @ a for a in g]) - means[0], np.mean([a @ a for a in s]) - means[2]))
    (_, _, _, v_small, w_small), (signal, along, power, v_large, w_large) = found
    variance = v_small * sizes[0]
    a = ((w_small - v_small) - (w_large - v_large)) / (v_small - v_large)
    shared = (w_large - v_large) - a * v_large
    bias = power - 2 * along + signal
    ratios = [variance / signal, a, shared / signal, bias / signal, along / np.sqrt(signal * power)]
    return np.array([signal, variance, *ratios])


def test_sums_over_pairs():
    """Estimates and jackknife errors, of a sampled gradient that draws nothing; bfloat16 parameters."""
    examples = np.float32(np.random.default_rng(3).normal(size=(6 * 16 + 5, 4)) + 1)
    noise = gradient_noise(
        _KEY,
        lambda params, batch: params - batch.mean(0),
        lambda key, params, batch: 0.5 * (params - batch.mean(0)) + 0.1 * (params - batch.mean(0)) ** 2,
        jnp.zeros(4, jnp.bfloat16),
        examples,
        sizes=_SIZES,
    )
    used = examples[: 6 * 16]
    values = _slow(used, _SIZES)
    left_out = np.stack([_slow(used, _SIZES, i) for i in range(6)])
    errors = np.sqrt(5 / 6 * np.sum((left_out - left_out.mean(0)) ** 2, 0))
    total = noise.total
    found = [total.signal, total.variance, total.noise_scale, total.a, total.c, total.bias, total.cosine]
    np.testing.assert_allclose([f.value for f in found], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose([f.error for f in found], errors, rtol=1e-3, atol=1e-5)
    assert list(noise.layers) == ["params"]


def test_errors_are_the_spread():
    """Over 400 repetitions, jackknife errors are the standard deviation, and estimates are right on average.

    The error's own relative spread over repetitions is about 0.035; 20 % is more than 5 of that. False alarm: 10^-4.
    """
    rng, groups, batches, features = np.random.default_rng(5), 20, 4, 6

    def products(g, d):
        """From gradients `(groups, batches, features)` and two differences each, `(2, groups, batches, features)`."""
        sums, off = g.sum(1), d.mean(0).sum(1)
        own = [(g * g), (g * d.mean(0)), (d[0] * d[1]), (d[0] - d[1]) ** 2 / 2]
        return Products(sums @ sums.T, sums @ off.T, off @ off.T, *(x.sum((1, 2)) for x in own))

    found = []
    for _ in range(400):
        g = 0.5 + rng.normal(size=(groups, batches, features)) / 2
        d = np.repeat([0.3, -0.1], 3) + 0.3 * rng.normal(size=(2, *g.shape))
        large = g.mean(1, keepdims=True), d.mean(2, keepdims=True)
        found.append(moments(statistics(products(g, d), products(*large), 4, 4)))
    signal, variance = features * 0.25, 4 * features / 4
    expected = {"signal": signal, "variance": variance}
    for name in ("signal", "variance", "noise_scale", "a", "bias", "cosine"):
        values, errors = np.array([getattr(f, name) for f in found]).T
        assert 0.8 < np.sqrt(np.mean(errors**2)) / values.std() < 1.25, name
        if name in expected:
            z = (values.mean() - expected[name]) / (values.std() / 20)
            assert abs(z) < stats.norm.isf(1e-4 / 2), name


def test_a_signal_that_cannot_be_told():
    examples = np.float32(np.random.default_rng(0).normal(size=(256, 8)))
    examples -= examples.mean(0)
    noise = gradient_noise(
        _KEY, lambda p, z: p - z.mean(0), lambda key, p, z: p - z.mean(0), jnp.zeros(8), examples, sizes=_SIZES
    )
    assert not noise.total.is_told and noise.total.noise_scale_above > 50
    assert str(noise).splitlines()[-2].split()[:3] == ["all", "above", f"{noise.total.noise_scale_above:.3g}"]


def _bad(params, batch):
    return jax.tree.map(lambda g: g / 0, _exact(params, batch))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": 3}, "key must be one PRNG key"),
        ({"sizes": (16, 24)}, r"sizes must be a batch size and a multiple of it, got \(16, 24\)"),
        ({"sizes": 16}, "sizes must be two batch sizes, got 16"),
        ({"sizes": (0, 8)}, "sizes must be a positive integer, got 0"),
        ({"sizes": (16, 64)}, "examples must be 192 or more, 3 batches of 64, got 64"),
        ({"examples": {"x": np.ones(3), "y": np.ones(4)}}, r"one leading axis, got shapes \[\(3,\), \(4,\)\]"),
        ({"examples": {}}, "examples must be arrays with one leading axis, got shapes none"),
        ({"exact": lambda p, z: 1.0}, "exact must return a tree like params"),
        ({"exact": _bad}, "exact must return finite gradients, got others in first/kernel"),
        ({"sampled": lambda key, p, z: _bad(p, z)}, "sampled must return finite gradients, got others in first/kernel"),
    ],
)
def test_bad_input(settings, message):
    settings = {
        "key": _KEY,
        "exact": _exact,
        "sampled": lambda key, p, z: _exact(p, z),
        "params": _PARAMS,
        "examples": _examples(0, 64, 0),
        "sizes": _SIZES,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        gradient_noise(**settings)
