"""Slow, independently written float64 NumPy references, and the z-test that the statistical tests share."""

import functools
import itertools

import jax
import numpy as np
from scipy import stats


def explicit_padding(padding, in_shape, window, strides, dilation):
    """`padding` as (low, high) pairs, from the definitions of SAME and VALID."""
    if isinstance(padding, int):
        return [(padding, padding)] * len(in_shape)
    if not isinstance(padding, str):
        return [(p, p) if isinstance(p, int) else tuple(p) for p in padding]
    if padding == "VALID":
        return [(0, 0)] * len(in_shape)
    pairs = []
    for n, k, s, d in zip(in_shape, window, strides, dilation, strict=True):
        out = -(-n // s)
        total = max((out - 1) * s + (k - 1) * d + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def positions(in_shape, window, strides, padding, dilation):
    """Every (output position, tap, input position) that a convolution connects, and the output's shape."""
    pads = explicit_padding(padding, in_shape, window, strides, dilation)
    axes = list(zip(in_shape, window, strides, pads, dilation, strict=True))
    out_shape = tuple(len(range(-lo, n + hi - (k - 1) * d, s)) for n, k, s, (lo, hi), d in axes)
    triples = []
    for out in itertools.product(*map(range, out_shape)):
        for tap in itertools.product(*map(range, window)):
            at = tuple(q * s - lo + t * d for q, t, (_, _, s, (lo, _), d) in zip(out, tap, axes, strict=True))
            if all(0 <= i < n for i, n in zip(at, in_shape, strict=True)):
                triples.append((out, tap, at))
    return triples, out_shape


def _connections(x_shape, kernel_shape, strides, padding, dilation):
    return positions(x_shape[1:-1], kernel_shape[:-2], strides, padding, dilation)


def conv(x, kernel, strides, padding, dilation):
    """The convolution by its definition: one multiplication after another."""
    x, kernel = np.float64(x), np.float64(kernel)
    triples, out_shape = _connections(x.shape, kernel.shape, strides, padding, dilation)
    y = np.zeros((x.shape[0], *out_shape, kernel.shape[-1]))
    for out, tap, at in triples:
        y[(slice(None), *out)] += x[(slice(None), *at)] @ kernel[tap]
    return y


def conv_input_grad(g, kernel, in_shape, strides, padding, dilation):
    """The gradient of sum(g * conv(x, kernel)) in x."""
    g, kernel = np.float64(g), np.float64(kernel)
    triples, _ = positions(in_shape, kernel.shape[:-2], strides, padding, dilation)
    dx = np.zeros((g.shape[0], *in_shape, kernel.shape[-2]))
    for out, tap, at in triples:
        dx[(slice(None), *at)] += g[(slice(None), *out)] @ kernel[tap].T
    return dx


def conv_kernel_grad(x, g, window, strides, padding, dilation):
    """The gradient of sum(g * conv(x, kernel)) in the kernel."""
    x, g = np.float64(x), np.float64(g)
    triples, _ = positions(x.shape[1:-1], window, strides, padding, dilation)
    dw = np.zeros((*window, x.shape[-1], g.shape[-1]))
    for out, tap, at in triples:
        dw[tap] += x[(slice(None), *at)].T @ g[(slice(None), *out)]
    return dw


def patches(x, window, strides, padding, dilation):
    """The patch matrix: `(batch * positions, taps * in)`, zero where a tap meets the padding."""
    x = np.float64(x)
    triples, out_shape = positions(x.shape[1:-1], window, strides, padding, dilation)
    p = np.zeros((x.shape[0], *out_shape, *window, x.shape[-1]))
    for out, tap, at in triples:
        p[(slice(None), *out, *tap)] = x[(slice(None), *at)]
    return p.reshape(x.shape[0] * int(np.prod(out_shape)), -1)


def masked_dense(kernel, mu, strides, padding, dilation, edge_weights=None):
    """Appendix B: the convolution of a mu x mu image as a dense layer whose weights are masked outside the patch.

    Returns the (mu mu C) x (mu' mu' O) matrix, built entry by entry; `edge_weights` (v v C) multiplies the edge (tap,
    channel) wherever it occurs.
    """
    kernel = np.float64(kernel)
    v, w, channels, features = kernel.shape
    if edge_weights is None:
        edge_weights = np.ones(v * w * channels)
    triples, out_shape = positions((mu, mu), (v, w), strides, padding, dilation)
    matrix = np.zeros((mu * mu * channels, out_shape[0] * out_shape[1] * features))
    for (q, r), (t, u), (i, j) in triples:
        for c in range(channels):
            for o in range(features):
                row, column = (i * mu + j) * channels + c, (q * out_shape[1] + r) * features + o
                matrix[row, column] = kernel[t, u, c, o] * edge_weights[(t * w + u) * channels + c]
    return matrix


def inclusion_probabilities(scores, k, uniform_mix):
    """min(1, lambda s) with lambda found by bisection; `scores` any non-negative finite numbers."""
    s = np.float64(scores)
    s = s / s.max() if s.max() > 0 else np.ones_like(s)
    s = (1 - uniform_mix) * s / s.sum() + uniform_mix / s.size
    s = np.maximum(s, 1e-20)  # as documented in the library: no row is impossible
    low, high = 0.0, 1e22
    for _ in range(300):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, middle * s).sum() < k else (low, middle)
    return np.minimum(1, high * s)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _draw(sampler, key, scores, k):
    return sampler(key, scores, k)


def drawn_weights(sampler, key, scores, k):
    """The weight of each row, shaped as `scores`, in the library's draw of k rows: repeated ones add up."""
    sample = _draw(sampler, key, np.float32(scores).ravel(), k)
    weights = np.zeros(scores.size)
    np.add.at(weights, np.asarray(sample.indices), np.float64(sample.weights))
    return weights.reshape(scores.shape)


def assert_mean(samples, expected, false_alarm, rounding=1e-5):
    """A two-sided z-test of E samples[i] = expected, for every entry.

    Args:
        samples: `(m, ...)`, m independent draws.
        expected: `(...)`.
        false_alarm: probability that the assertion fails on correct code, over all entries together (Bonferroni).
        rounding: float32 error allowed on top, relative to the largest expected entry.
    """
    samples = np.float64(samples).reshape(len(samples), -1)
    expected = np.float64(expected).reshape(-1)
    standard_error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    threshold = stats.norm.isf(false_alarm / 2 / expected.size)
    allowed = threshold * standard_error + rounding * np.abs(expected).max()
    excess = np.abs(samples.mean(0) - expected) / allowed
    assert np.all(excess <= 1), f"mean off by {threshold * excess.max():.1f} standard errors, {threshold:.1f} allowed"


def assert_unbiased(samples, expected, false_alarm):
    """Splits `false_alarm` over the entries and over the projection on `expected`, which feels a common factor best."""
    expected = np.float64(expected).reshape(-1)
    flat = np.float64(samples).reshape(len(samples), -1)
    assert_mean(flat @ expected, expected @ expected, false_alarm / 2)
    assert_mean(flat, expected, false_alarm / 2)


def vectors(seed, n, features):
    """`(n, features)` float32, independent normal entries."""
    return np.float32(np.random.default_rng(seed).normal(size=(n, features)))
