"""Diagnostics of hashed layers against their definitions, set by set."""

import jax
import numpy as np
import pytest
from compiled_lsh import active_set, build, query_codes
from oracles import vectors
from quick_compilation import once

from jaxapprox._src.hashing import diagnostics
from jaxapprox.diagnostics import diagnose


@pytest.mark.parametrize("shared", [False, True])
def test_against_sets(monkeypatch, path, shared):
    """Every figure is what counting with sets gives: recall, empty buckets and fill of the first 8 examples."""
    weights, x = vectors(0, 50, 6), vectors(1, 11, 6)
    tables = build(jax.random.key(0), weights, num_bits=5, num_tables=3)
    moved = weights + 0.3 * vectors(2, 50, 6)
    ids = active_set(jax.random.key(1), tables, x, size=20)
    ids = ids[0] if shared else ids
    actual = once(diagnose, tables, moved, x, ids)
    sets = [set(row) for row in np.broadcast_to(ids, (11, 20)).tolist()]
    codes, query = np.asarray(tables.codes), np.asarray(query_codes(tables, x))
    recall, empty, fill = [], [], []
    for b in range(8):
        top = np.argsort(-np.float64(moved) @ np.float64(x[b]))[:20]
        recall.append(len(sets[b] & set(top.tolist())) / 20)
        empty += [query[b, t] not in codes[t] for t in range(3)]
        fill += [not np.any(codes[:, unit] == query[b]) for unit in sets[b]]
    assert np.mean(empty) > 0 and 0 < np.mean(fill) < 1  # every figure is at work
    np.testing.assert_allclose(actual.active_units, len(set.union(*sets)))
    np.testing.assert_allclose(actual.recall, np.mean(recall), rtol=1e-6)
    np.testing.assert_allclose(actual.empty_buckets, np.mean(empty), rtol=1e-6)
    np.testing.assert_allclose(actual.random_fill, np.mean(fill), rtol=1e-6)
    fresh = build(jax.random.key(0), moved, num_bits=5, num_tables=3).codes
    np.testing.assert_allclose(actual.drift, np.mean(np.asarray(fresh) != codes), rtol=1e-6)
    monkeypatch.setattr(diagnostics, "_UNITS", 20)  # every third unit
    third = once(diagnose, tables, moved, x, ids).drift
    np.testing.assert_allclose(third, np.mean((np.asarray(fresh) != codes)[:, ::3]), rtol=1e-6)
    assert actual.drift > 0 and once(diagnose, tables, weights, x, ids).drift == 0


def test_no_gradient_flows_through_diagnostics():
    x, weights = vectors(1, 4, 6), vectors(0, 30, 6)
    tables = build(jax.random.key(0), weights)
    ids = active_set(jax.random.key(1), tables, x, size=5)
    slope = once(jax.grad(lambda w, x: sum(diagnose(tables, w, x, ids)), argnums=(0, 1)), weights, x)
    assert all(np.all(np.asarray(d) == 0) for d in slope)
