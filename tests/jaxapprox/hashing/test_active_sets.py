"""Active sets: what each selection promises, however units are found."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled_lsh import active_set, build, collisions, query_codes, rebuild, shared_active_set
from jax import lax
from oracles import vectors

from jaxapprox import lsh

selects = pytest.mark.parametrize("select", ["union", "count"])


@selects
def test_recall_grows_with_the_number_of_tables(select):
    """Of the true top tenth, more tables find more."""
    weights, x = vectors(0, 200, 24), vectors(1, 64, 24)
    top = np.argsort(-(x @ weights.T))[:, :20]
    recalls = []
    for num_tables in (1, 4, 16):
        tables = build(jax.random.key(0), weights, num_tables=num_tables, num_bits=5, transform="simple")
        found = active_set(jax.random.key(1), tables, x, size=40, select=select)
        recalls.append(np.mean([np.isin(t, f).mean() for t, f in zip(top, np.asarray(found), strict=True)]))
    assert 0.2 < recalls[0] < recalls[1] < recalls[2]


@selects
@pytest.mark.parametrize(
    ("units", "size", "batch", "dtype"),
    [
        (60, 7, 4, jnp.float32),
        (60, 60, 2, jnp.float32),
        (1, 1, 1, jnp.float32),
        (8, 2, 0, jnp.float32),
        (61, 20, 3, jnp.bfloat16),
    ],
)
def test_distinct_ids_of_the_asked_size(path, select, units, size, batch, dtype):
    """Distinct, in range, the same for the same key; under jit also for zeros, NaN; of no example, one unit and all."""
    weights, x = jnp.asarray(vectors(0, units, 6), dtype), jnp.asarray(vectors(1, batch, 6), dtype)
    tables = build(jax.random.key(0), weights, num_bits=2)
    draw = functools.partial(active_set, size=size, select=select)
    for inputs in (x, jnp.zeros_like(x), x.at[:1, 0].set(jnp.nan)):
        ids = draw(jax.random.key(1), tables, inputs)
        assert ids.shape == (batch, size) and ids.dtype == jnp.int32
        assert all(len(set(row)) == size and min(row) >= 0 and max(row) < units for row in np.asarray(ids))
        np.testing.assert_array_equal(ids, draw(jax.random.key(1), tables, inputs))
    if batch and size < units:
        assert np.any(draw(jax.random.key(1), tables, x) != draw(jax.random.key(2), tables, x))


@pytest.mark.parametrize("size", [3, 10, 25])
def test_union_goes_through_the_tables_in_order(path, size):
    """Units come from the first tables that hold enough, and at random only when no table has more."""
    weights, x = vectors(0, 50, 6), vectors(1, 20, 6)
    tables = build(jax.random.key(0), weights, num_bits=3, num_tables=3, transform="simple")
    same = np.asarray(query_codes(tables, x))[:, :, None] == np.asarray(tables.codes)[None]
    rows = {"whole": 0, "subsampled": 0, "filled": 0}
    for matches, ids in zip(same, np.asarray(active_set(jax.random.key(1), tables, x, size=size)), strict=True):
        longest = matches.sum(1).max()
        table = np.where(matches.any(0), matches.argmax(0), 3)[ids]
        assert np.sum(table == 0) == min(size, matches[0].sum())
        if longest <= size:  # no bucket is subsampled: the sets are known up to the choice within the last table
            rows["whole"] += 1
            rows["filled"] += np.any(table == 3)
            assert np.all(np.diff(table) >= 0)
            assert np.sum(table < 3) == min(size, matches.any(0).sum())
        else:  # that bucket alone gives enough
            rows["subsampled"] += 1
            assert np.all(table < 3)
    happens = {3: ["subsampled"], 10: ["whole", "subsampled"], 25: ["whole", "filled"]}[size]
    assert all(rows[kind] > 0 for kind in happens)


def test_count_takes_the_most_collisions_first(path):
    """No unit left out collides more often than one taken, where no bucket is longer than the set."""
    weights, x = vectors(0, 50, 6), vectors(1, 20, 6)
    tables = build(jax.random.key(0), weights, num_bits=3, num_tables=8, transform="simple")
    counts = np.asarray(collisions(tables, x))
    bucket = (np.asarray(query_codes(tables, x))[:, :, None] == np.asarray(tables.codes)[None]).sum(-1).max(1)
    checked = 0
    for count, largest, ids in zip(
        counts, bucket, np.asarray(active_set(jax.random.key(1), tables, x, size=20, select="count")), strict=True
    ):
        if path == "comparison" or largest <= 20:
            assert count[ids].min() >= np.delete(count, ids).max()
            assert np.all(np.diff(count[ids]) <= 0)
            checked += 1
    assert checked > 5


@selects
@pytest.mark.parametrize("found", [True, False], ids=["one bucket of all", "random fill"])
def test_equal_units_are_equally_likely(path, select, found):
    """Subsampling and fill favour nobody. False alarms: 1e-4 over all 8 cases."""
    x = vectors(1, 1, 6)
    weights = np.repeat(x if found else -x, 23, axis=0)
    tables = build(jax.random.key(0), weights, num_bits=4, transform="simple")
    assert np.all(np.asarray(collisions(tables, x)) == (5 if found else 0))
    keys = jax.random.split(jax.random.key(2), 20_000)
    draw = jax.jit(jax.vmap(lambda key: active_set(key, tables, jnp.asarray(x), size=5, select=select)[0]))
    taken = np.zeros((len(keys), 23))
    np.put_along_axis(taken, np.asarray(draw(keys)), 1, axis=1)
    # A stratified fill takes ids in proportion to their ranges, which differ by one id in 4 or 5.
    expected = np.full(23, 5 / 23)
    if path == "buckets" and not found:
        bounds = np.arange(6) * 23 // 5
        expected = np.repeat(1 / np.diff(bounds), np.diff(bounds))
    oracles.assert_mean(taken, expected, 1e-4 / 8)


@selects
def test_examples_draw_apart(path, select):
    """The same input twice in a batch: the ties and the fill are another draw."""
    x = vectors(1, 1, 6)
    tables = build(jax.random.key(0), np.repeat(-x, 23, axis=0), transform="simple")
    first, second = active_set(jax.random.key(1), tables, np.repeat(x, 2, axis=0), size=5, select=select)
    assert set(np.asarray(first)) != set(np.asarray(second))


def test_with_64_bit_types(path):
    """Under `jax_enable_x64` float32 weights are hashed, and ids and codes stay int32."""
    jax.config.update("jax_enable_x64", True)
    try:
        weights, x = jnp.asarray(vectors(0, 30, 6)), jnp.asarray(vectors(1, 4, 6))
        tables = build(jax.random.key(0), weights)
        assert all(
            array.dtype == jnp.int32 for array in (tables.codes, tables.order, tables.offsets) if array is not None
        )
        for select in ("union", "count"):
            ids = active_set(jax.random.key(1), tables, x, size=5, select=select)
            assert ids.dtype == jnp.int32 and all(len(set(row)) == 5 for row in np.asarray(ids).tolist())
    finally:
        jax.config.update("jax_enable_x64", False)


def test_queries_of_large_layers_take_bounded_memory():
    """No array of batch x units: 200,000 units, 50 tables, batch 64."""
    units, batch = 200_000, 64
    weights, x = (jax.ShapeDtypeStruct((n, 8), jnp.float32) for n in (units, batch))
    tables = jax.eval_shape(lambda w: build(jax.random.key(0), w, num_tables=50, num_bits=12), weights)
    query = jax.jit(lambda t, x: active_set(jax.random.key(1), t, x, size=200))
    assert query.lower(tables, x).compile().memory_analysis().temp_size_in_bytes < batch * units


def test_shared_set_is_the_batch_s_majority(path):
    """The units in the most examples' sets."""
    weights, x = vectors(0, 40, 6), vectors(1, 30, 6)
    tables = build(jax.random.key(0), weights, num_bits=3)
    key = jax.random.key(1)
    own = np.asarray(active_set(jax.random.split(key)[0], tables, x, size=10))
    votes = np.bincount(own.ravel(), minlength=40)
    ids = np.asarray(shared_active_set(key, tables, x, size=10))
    assert len(set(ids)) == 10
    assert votes[ids].min() >= np.delete(votes, ids).max()


@selects
def test_same_under_jit_vmap_scan_and_checkpoint(path, select):
    """Hashing and selection of a key are the same however they are called."""
    weights, x = jnp.asarray(vectors(0, 30, 6)), jnp.asarray(vectors(1, 4, 6))
    keys = jax.random.split(jax.random.key(0), 3)

    @jax.checkpoint
    def step(key):
        tables = rebuild(build(key, weights), 2 * weights + 1)
        return tables, active_set(key, tables, x, size=5, select=select)

    one = jax.jit(step)(keys[1])
    scanned = jax.jit(lambda keys: lax.scan(lambda carry, key: (carry, step(key)), 0, keys)[1])(keys)
    mapped = jax.jit(jax.vmap(step))(keys)
    for other in (scanned, mapped):
        chex.assert_trees_all_equal(jax.tree.map(lambda a: a[1], other), one)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: lsh.active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=0), "size"),
        (lambda t: lsh.active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=6), "size"),
        (lambda t: lsh.active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=2.0), "size"),
        (lambda t: lsh.active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=2, select="best"), "select"),
        (lambda t: lsh.active_set(jax.random.key(0), t, jnp.ones((2, 3)), size=2), "x"),
        (lambda t: lsh.active_set(0, t, jnp.ones((2, 4)), size=2), "key"),
    ],
)
def test_queries_name_bad_arguments(call, name):
    """Every bad argument is a ValueError that begins with its name."""
    with pytest.raises(ValueError, match=f"^{name} must "):
        call(build(jax.random.key(0), jnp.ones((5, 4))))
