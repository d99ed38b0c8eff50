"""Searches and running maxima: NumPy's, on both platforms, by either form, under `vmap` and `shard_map`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxapprox._src import ordered

either_form = pytest.mark.parametrize("most_pairs", [0, 1 << 20], ids=["longer than the limit", "shorter"])


@either_form
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(platform, most_pairs, side, monkeypatch):
    """Ties, points beyond both ends and infinities."""
    monkeypatch.setattr(ordered, "_MOST_PAIRS", most_pairs)
    values = np.sort(np.random.default_rng(0).integers(0, 20, (3, 33)).astype(np.float32), axis=1)
    points = np.float32([-np.inf, -1, 0, 3, 3.5, 19, 20, np.inf])
    found = jax.jit(jax.vmap(lambda v: ordered.searchsorted(v, points, side)))(values)
    np.testing.assert_array_equal(found, [np.searchsorted(v, points, side) for v in values])


@either_form
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int16])
def test_cummax(platform, most_pairs, dtype, monkeypatch):
    """Negative numbers, and the least that there is first."""
    monkeypatch.setattr(ordered, "_MOST_PAIRS", most_pairs)
    numbers = np.random.default_rng(0).integers(-9, 9, (3, 17)).astype(dtype)
    numbers[0, 0] = np.iinfo(dtype).min
    found = jax.jit(jax.vmap(ordered.cummax))(numbers)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.maximum.accumulate(numbers, axis=1))


def test_an_accelerator_runs_no_loop():
    """Where a loop is a kernel for each of its turns."""
    values, points = jnp.arange(64.0), jnp.arange(32)

    def both(values, points):
        return ordered.searchsorted(values, points.astype(values.dtype)), ordered.cummax(points)

    programs = {name: jax.jit(both).trace(values, points).lower(lowering_platforms=(name,)) for name in ("cpu", "cuda")}
    loops = {name: program.as_text().count("stablehlo.while") for name, program in programs.items()}
    assert loops["cuda"] == 0 < loops["cpu"]
