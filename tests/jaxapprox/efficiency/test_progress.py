"""Methods whose efficiency is known, and progress per second by its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxapprox.efficiency import StepTime, efficiency, gradient_noise

_KEY = jax.random.key(0)
_TIME = StepTime(0.01, 0.001)


def _exact(params, batch):
    return params - batch.mean(0)


def _noise(sampled, mean=0.15, groups=100):
    examples = np.float32(np.random.default_rng(0).normal(size=(groups * 16, 20)) + mean)
    return gradient_noise(_KEY, _exact, sampled, jnp.zeros(20), examples, sizes=(4, 16))


def test_the_same_gradient():
    """In the same time it has efficiency 1, in half of it 2, and at half of its length 1."""
    same = _noise(lambda key, p, z: _exact(p, z))
    np.testing.assert_allclose(efficiency(same, _TIME, _TIME).at(), 1, rtol=1e-5)
    fast = efficiency(same, _TIME, StepTime(0.005, 0.0005))
    np.testing.assert_allclose((fast.value, fast.low, fast.high), 2, rtol=1e-5)
    assert str(fast).splitlines()[-3].endswith("It pays.")
    assert fast.exact_size == fast.sampled_size
    best = np.sqrt(same.total.noise_scale.value * 10)  # sqrt(N s0 / s1)
    assert best / 2 < fast.exact_size < best * 2
    half = _noise(lambda key, p, z: 0.5 * _exact(p, z))
    np.testing.assert_allclose(efficiency(half, _TIME, _TIME).value, 1, rtol=1e-4)


def _half(key, params, batch):
    return _exact(params, jax.random.choice(key, batch, (len(batch) // 2,), replace=False))


def test_a_smaller_batch():
    """Best against best it has efficiency 1: the interval says so, within 10 %."""
    found = efficiency(_noise(_half, groups=400), _TIME, StepTime(0.01, 0.0005), unbiased=True)
    assert found.low < 1 < found.high < 1.1 * found.low * 1.1
    assert found.sampled_size in (found.exact_size, 2 * found.exact_size, 4 * found.exact_size)
    worse = efficiency(_noise(_half), _TIME, _TIME, unbiased=True)  # as slow as the whole batch
    assert worse.high < 1 and str(worse).splitlines()[-3].endswith("It does not pay.")


def test_the_formula():
    """By loops over the ladder, from the moments alone."""

    def sampled(key, params, batch):
        factor = 1 + 0.5 * jax.random.normal(key)
        return factor * (_half(key, params, batch) + 0.05)

    noise, fast = _noise(sampled, mean=0.3), StepTime(0.004, 0.0004)
    found = efficiency(noise, _TIME, fast, ladder=(1, 8, 64, 512))
    total = noise.total
    n, a, c, bias, cosine = (getattr(total, name).value for name in ("noise_scale", "a", "c", "bias", "cosine"))
    statistics = noise.statistics
    power = float((statistics.signal + 2 * statistics.across + statistics.squared_bias)[0] / statistics.signal[0])
    np.testing.assert_allclose(power - 2 * cosine * np.sqrt(power) + 1, bias, rtol=1e-3, atol=1e-4)
    exact = {b: 1 / (1 + n / b) / (0.01 + 0.001 * b) for b in (1, 8, 64, 512)}
    rates = {b: cosine**2 * power / (power + (1 + a) * n / b + c) / (0.004 + 0.0004 * b) for b in exact}
    np.testing.assert_allclose(found.value, max(rates.values()) / max(exact.values()), rtol=1e-5)
    assert rates[found.sampled_size] == max(rates.values()) and exact[found.exact_size] == max(exact.values())
    np.testing.assert_allclose(found.at(8).value, rates[8] / max(exact.values()), rtol=1e-5)
    np.testing.assert_allclose(found.at(8, 1).value, rates[8] / exact[1], rtol=1e-5)
    assert found.low < found.value < found.high


def test_times_widen_the_interval():
    noise = _noise(lambda key, p, z: _exact(p, z))
    seconds = np.array([[2.0, 20.0], [2.2, 21.0], [1.9, 19.0]])
    time = StepTime.fit((1, 16), seconds)
    assert time.fixed_error > 0 and time.per_example_error > 0
    found = efficiency(noise, time, time)
    np.testing.assert_allclose(found.value, 1)
    assert 0.7 < found.low < 0.99 and 1.01 < found.high < 1.5


def test_step_times():
    """Exact where a line fits, of least relative squares where none does, and never negative."""
    sizes = np.array([1, 8, 64])
    time = StepTime.fit(sizes, np.tile(0.5 + 0.25 * sizes, (3, 1)))
    np.testing.assert_allclose((time.fixed, time.per_example), (0.5, 0.25))
    np.testing.assert_allclose((time.fixed_error, time.per_example_error), 0, atol=1e-12)
    seconds = np.array([[1.0, 3.0, 14.0], [1.3, 2.5, 13.0]])
    time = StepTime.fit(sizes, seconds)

    def loss(fixed, per_example):
        return np.sum(((fixed + per_example * sizes) / seconds - 1) ** 2)

    best = loss(time.fixed, time.per_example)
    assert all(loss(time.fixed + d, time.per_example + e) > best for d in (-0.01, 0.01) for e in (-0.001, 0, 0.001))
    assert StepTime.fit((1, 10), [[1.0, 30.0]]).fixed == 0
    assert StepTime.fit((1, 10), [[1.0, 0.5]]).per_example == 0


def test_a_signal_that_cannot_be_told():
    """The range is over all larger noise scales: with so much noise half of the batch has half of the progress."""
    examples = np.float32(np.random.default_rng(1).normal(size=(1600, 20)))
    examples -= examples.mean(0)
    noise = gradient_noise(_KEY, _exact, _half, jnp.zeros(20), examples, sizes=(4, 16))
    assert not noise.total.is_told
    found = efficiency(noise, _TIME, _TIME, ladder=(1, 8))
    assert found.low < 0.5 < found.high < 0.7


@pytest.mark.parametrize("ladder", [(), (0,), (1.5,), 8, "12"])
def test_bad_ladders(ladder):
    noise = _noise(lambda key, p, z: _exact(p, z), groups=3)
    with pytest.raises(ValueError, match="ladder must be"):
        efficiency(noise, _TIME, _TIME, ladder)


@pytest.mark.parametrize(
    ("sizes", "seconds", "message"),
    [
        ((1, 2), [[1.0]], r"seconds must be \(rounds, 2\), a column for each size, got \(1, 1\)"),
        ((4, 4), [[1.0, 1.0]], "sizes must be two or more positive batch sizes"),
        ((1, 2), [[1.0, 0.0]], "seconds must be positive, got 0.0"),
    ],
)
def test_bad_times(sizes, seconds, message):
    with pytest.raises(ValueError, match=message):
        StepTime.fit(sizes, seconds)
