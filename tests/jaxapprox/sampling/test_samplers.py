"""The samplers: which rows they keep, how often, and at what weight."""

import functools

import chex
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax
from scipy import stats

from jaxapprox import SAMPLERS, bernoulli, importance, inclusion_probabilities, systematic, topk, uniform
from jaxapprox._src.sampling.samplers import bernoulli_slots
from jaxapprox._src.sampling.scores import finite_scores

BY_PROBABILITY = [bernoulli, systematic]
WITHOUT_REPLACEMENT = [topk, uniform, systematic]
UNBIASED = [uniform, importance, bernoulli, systematic]
MIXED = [importance, bernoulli, systematic]
ALL = list(SAMPLERS.values())

SKEWED = jnp.asarray([5.0, 0.0, 1.0, 0.3, 2.0, 0.1, 0.7, 1.5, 0.0, 0.4], jnp.float32)
SCORES = {
    "equal": jnp.ones(10),
    "skewed": SKEWED,
    "all zero": jnp.zeros(10),
    "partly zero": jnp.where(jnp.arange(10) < 6, 0.0, 1.0),
    "tiny": SKEWED * 1e-37,
    "huge": SKEWED * 5e35,
    "overflowing": SKEWED * 5e37,
    "one dominates": jnp.ones(10).at[3].set(1e30),
}
KEYS = 100_000


def named(samplers):
    return pytest.mark.parametrize("sampler", samplers, ids=lambda s: s.__name__)


@functools.partial(jax.jit, static_argnums=(0, 2))
def many(sampler, scores, k):
    keys = jax.random.split(jax.random.key(1), KEYS)
    samples = jax.vmap(lambda key: sampler(key, scores, k))(keys)
    weights = jax.vmap(lambda sample: jnp.zeros_like(scores).at[sample.indices].add(sample.weights))(samples)
    return weights, samples


@functools.cache
def draws(sampler, name, k):
    """`KEYS` draws, under `vmap` over keys and `jit`: a (KEYS, n) matrix of weights, and the samples."""
    return jax.tree.map(np.asarray, many(sampler, SCORES[name], k))


@pytest.fixture(autouse=True, scope="module")
def forget_draws():
    """Half a gigabyte: most draws are looked at by several tests."""
    yield
    draws.cache_clear()


@named(ALL)
@pytest.mark.parametrize("scores_dtype", [jnp.float32, jnp.bfloat16])
def test_slots_are_static_and_typed(sampler, scores_dtype):
    """Slots: k, or `bernoulli_slots`; int32 indices in range; float32 weights, even for bfloat16 scores."""
    n, k = 10, 4
    sample = sampler(jax.random.key(0), SKEWED.astype(scores_dtype), k)
    slots = bernoulli_slots(n, k) if sampler is bernoulli else k
    assert sample.indices.shape == sample.weights.shape == (slots,)
    assert sample.indices.dtype == jnp.int32
    assert sample.weights.dtype == jnp.float32
    assert np.all((sample.indices >= 0) & (sample.indices < n))


@named(ALL)
@pytest.mark.parametrize("name", SCORES)
def test_weights_are_finite_on_degenerate_scores(sampler, name):
    """Zero, tiny, huge and dominated scores give finite, non-negative weights, in every one of many draws."""
    weights, samples = draws(sampler, name, 3)
    assert np.all(np.isfinite(weights))
    assert np.all(samples.weights >= 0)


def finite_float32(largest):
    elements = st.floats(0, float(np.float32(largest)), width=32, allow_subnormal=False)
    return hnp.arrays(np.float32, st.sampled_from([1, 5, 32]), elements=elements)


@hypothesis.given(
    scores=st.one_of(finite_float32(1), finite_float32(1e36), finite_float32(1e-30)),
    k_share=st.sampled_from([0, 0.3, 0.9, 1]),
    uniform_mix=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_inclusion_probabilities_match_bisection(scores, k_share, uniform_mix):
    """pi = min(1, lambda s) with sum k, in (0, 1], for any scores: against a bisection on lambda."""
    k = 1 + round(k_share * (scores.size - 1))
    actual = np.asarray(inclusion_probabilities(jnp.asarray(scores), k, uniform_mix=uniform_mix))
    assert actual.shape == scores.shape
    assert np.all((actual > 0) & (actual <= 1))
    # With no uniform part and fewer positive scores than k, rows of zero score share the rest.
    np.testing.assert_allclose(actual.sum(dtype=np.float64), k, rtol=1e-5)
    expected = oracles.inclusion_probabilities(scores, k, uniform_mix)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "overflowing"])
@pytest.mark.parametrize("uniform_mix", [0.0, 1.0])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_inclusion_probabilities_at_the_ends_of_uniform_mix(name, uniform_mix, k):
    """uniform_mix 1 gives k / n whatever the scores; 0 is the pure score, and still sums to k in (0, 1]."""
    actual = np.asarray(inclusion_probabilities(SCORES[name], k, uniform_mix=uniform_mix), np.float64)
    assert np.all((actual > 0) & (actual <= 1))
    expected = oracles.inclusion_probabilities(SCORES[name], k, uniform_mix)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(actual.sum(), k, rtol=1e-6)
    if uniform_mix == 1:
        np.testing.assert_allclose(actual, k / 10, rtol=1e-6)


@named([uniform, bernoulli, systematic])
@pytest.mark.parametrize("name", ["equal", "skewed", "partly zero", "one dominates"])
@pytest.mark.parametrize("k", [3, 8])
def test_inclusion_frequencies(sampler, name, k):
    """Each row is kept as often as promised. False alarms: 1e-4 over all 24 cases."""
    kept = draws(sampler, name, k)[0] > 0
    expected = np.full(10, k / 10) if sampler is uniform else oracles.inclusion_probabilities(SCORES[name], k, 0.1)
    oracles.assert_mean(kept, expected, false_alarm=1e-4 / 24)


@named(MIXED)
def test_uniform_mix_reaches_the_sampler(sampler):
    """`uniform_mix` changes the draw's probabilities: with 1 the rows of zero score come as often as any."""
    keys = jax.random.split(jax.random.key(2), 4000)
    draw = jax.jit(jax.vmap(lambda key: sampler(key, SKEWED, 1, uniform_mix=1.0)))
    samples = draw(keys)
    counts = np.bincount(np.ravel(samples.indices), weights=np.ravel(samples.weights > 0), minlength=10)
    # False alarm 1e-6: ten binomial counts, each against n p with the exact two-sided bound.
    low, high = stats.binom.interval(1 - 1e-7, 4000, 0.1)
    assert np.all((counts >= low) & (counts <= high))
    np.testing.assert_allclose(samples.weights[samples.weights > 0], 10.0, rtol=1e-5)


@named([uniform, systematic])
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("k", [3, 8])
def test_exactly_k_distinct_rows(sampler, name, k):
    """Every one of many draws holds k distinct rows."""
    indices = np.sort(draws(sampler, name, k)[1].indices, axis=1)
    assert np.all(np.diff(indices, axis=1) > 0)


@pytest.mark.parametrize(("n", "share"), [(257, 0.5), (4096, 0.01), (4096, 0.999), (10_000, 0.5)])
@pytest.mark.parametrize("skew", [0.0, 4.0])
def test_systematic_is_distinct_for_thousands_of_rows(n, share, skew):
    """Rounding of cumulated probabilities never draws a row twice, nor one out of range."""
    k = max(1, round(share * n))
    scores = jnp.exp(skew * jax.random.normal(jax.random.key(3), (n,)))
    keys = jax.random.split(jax.random.key(4), 20)
    indices = jax.jit(lambda keys: lax.map(lambda key: systematic(key, scores, k).indices, keys))(keys)
    indices = np.sort(indices, axis=1)
    assert np.all(np.diff(indices, axis=1) > 0)
    assert indices.min() >= 0
    assert indices.max() < n


def test_systematic_frequencies_among_thousands_of_rows():
    """Rare rows behind thousands of certain ones keep their probability despite float32 sums. False alarm 1e-5."""
    scores = jnp.concatenate([jnp.full(1000, 1e3), jnp.ones(1000)])
    probabilities = oracles.inclusion_probabilities(scores, 1060, 0.1)
    keys = jax.random.split(jax.random.key(5), 2000)
    indices = jax.jit(lambda keys: lax.map(lambda key: systematic(key, scores, 1060).indices, keys))(keys)
    counts = np.bincount(np.ravel(indices), minlength=2000)
    assert np.all(counts[:1000] == 2000)  # certain
    low, high = stats.binom.interval(1 - 1e-5 / 1000, 2000, probabilities[1000:])
    assert np.all((counts[1000:] >= low) & (counts[1000:] <= high))


@named([topk, uniform, bernoulli, systematic])
@pytest.mark.parametrize("name", SCORES)
def test_all_rows_at_weight_one_when_k_is_n(sampler, name):
    """k = n keeps every row once, at weight exactly 1."""
    sample = sampler(jax.random.key(0), SCORES[name], 10)
    assert sorted(np.asarray(sample.indices)) == list(range(10))
    assert np.all(np.asarray(sample.weights) == 1)


@named(UNBIASED)
@pytest.mark.parametrize("name", ["equal", "skewed", "partly zero", "all zero", "overflowing"])
@pytest.mark.parametrize("k", [3, 8])
def test_sum_is_unbiased(sampler, name, k):
    """E sum_j w_j a_{i_j} = sum_i a_i for values unrelated to the scores. False alarms: 1e-4 over all 40 cases."""
    values = np.linspace(1, 2, 10)
    estimates = draws(sampler, name, k)[0] @ values
    oracles.assert_mean(estimates, values.sum(), false_alarm=1e-4 / 40)


@named(UNBIASED)
def test_every_weight_has_mean_one(sampler):
    """E W_i = 1 for each row, which is unbiasedness for any values. False alarm: 1e-5 for each sampler."""
    weights = draws(sampler, "skewed", 3)[0]
    oracles.assert_mean(weights, np.ones(10), false_alarm=1e-5)


def test_topk_keeps_the_largest():
    """The k largest scores, at weight 1, whatever the key."""
    for seed in range(3):
        sample = topk(jax.random.key(seed), SKEWED, 4)
        assert set(np.asarray(sample.indices)) == {0, 4, 7, 2}
        assert np.all(np.asarray(sample.weights) == 1)


@named(ALL)
def test_same_draw_under_jit_vmap_and_scan(sampler):
    """A draw is a function of key and scores alone, however it is called."""
    keys = jax.random.split(jax.random.key(6), 8)
    draw = functools.partial(sampler, scores=SKEWED, num_samples=4)
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *[draw(key) for key in keys])
    jitted = jax.jit(draw)
    for actual in (
        jax.tree.map(lambda *leaves: np.stack(leaves), *[jitted(key) for key in keys]),
        jax.jit(jax.vmap(draw))(keys),
        lax.scan(lambda carry, key: (carry, draw(key)), 0, keys)[1],
    ):
        np.testing.assert_array_equal(actual.indices, expected.indices)
        np.testing.assert_allclose(actual.weights, expected.weights, rtol=1e-6)


@named(ALL)
def test_numpy_and_raw_keys_are_accepted(sampler):
    """Scores may be a NumPy array and the key a raw one; num_samples a NumPy integer."""
    typed = sampler(jax.random.key(7), SKEWED, 4)
    raw = sampler(jax.random.PRNGKey(7), np.asarray(SKEWED), np.int64(4))
    np.testing.assert_array_equal(raw.indices, typed.indices)


@named([topk, bernoulli, systematic])
@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_nan_and_infinite_scores_are_kept(sampler, bad):
    """A NaN or infinite score counts as the largest: its row is in every draw, at finite weight."""
    scores = SKEWED.at[jnp.asarray([1, 8])].set(bad)
    weights = np.asarray(many(sampler, scores, 3)[0])
    assert np.all(np.isfinite(weights))
    np.testing.assert_array_equal(weights[:, [1, 8]], 1)


@named(ALL)
def test_values_mean_the_same_compiled_or_not(sampler):
    """A negative score draws exactly as zero would, NaN as infinity, within a compiled program and outside."""
    key, outside = jax.random.key(9), functools.partial(sampler, num_samples=4)
    odd, plain = (SKEWED.at[jnp.asarray([2, 8])].set(jnp.asarray(values)) for values in ((-3.0, jnp.nan), (0, jnp.inf)))
    expected = outside(key, plain)
    for draw in (outside, jax.jit(outside)):
        chex.assert_trees_all_equal(draw(key, odd), expected)


def test_finite_scores_can_be_added_up():
    """Any n of the cleaned scores add up without overflow, in order and sign kept."""
    scores = jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, -1.0, 0.0, 2.0, 3e38])
    actual = np.asarray(finite_scores(scores))
    assert np.isfinite(actual.sum(dtype=np.float32))
    np.testing.assert_array_equal(actual[2:6], [0, 0, 0, 2])
    assert np.all(actual[[0, 1, 6]] == actual.max())


@pytest.mark.parametrize("n", [1, 2, 10, 64, 1000, 5000])
def test_bernoulli_slots_bound_the_binomial_tail(n):
    """The fewest slots with P(Binomial(n, k / n) > slots) <= 1e-6, by SciPy's tail."""
    for k in sorted({1, max(1, n // 10), max(1, n // 2), max(1, n - 1), n}):
        slots = bernoulli_slots(n, k)
        assert k <= slots <= n
        assert stats.binom.sf(slots, n, k / n) <= 1e-6 * (1 + 1e-6)
        assert slots == k or stats.binom.sf(slots - 1, n, k / n) > 1e-6 * (1 - 1e-6)


@named(ALL)
def test_no_derivative_through_scores(sampler):
    """Weights are constants to differentiation, as the estimate's unbiasedness needs, forward and reverse."""

    def total(scores):
        return jnp.sum(sampler(jax.random.key(0), scores, 4).weights)

    for derivative in (jax.grad(total)(SKEWED), jax.jvp(total, (SKEWED,), (SKEWED,))[1]):
        assert np.all(np.asarray(derivative) == 0)


@named([*ALL, lambda key, scores, k: inclusion_probabilities(scores, k)])
def test_one_program_outside_jit(sampler, caplog):
    """A call outside of `jit` compiles one program, and the next call none."""
    key, scores = jax.random.key(0), jnp.ones(11)
    jax.clear_caches()
    with jax.log_compiles(), caplog.at_level("WARNING"):
        sampler(key, scores, 4)
        sampler(key, scores, 4)
    assert sum(record.getMessage().startswith("Compiling") for record in caplog.records) == 1
