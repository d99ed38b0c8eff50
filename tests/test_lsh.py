"""Hash tables and active sets: codes against NumPy, collisions against theory, and what each selection promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax import lax
from scipy import stats

from jaxapprox import hashing
from jaxapprox.lsh import (
    active_set,
    build,
    collision_probability,
    collisions,
    cosines,
    query_codes,
    rebuild,
    shared_active_set,
)

TRANSFORMS = ("l2", "sign", "simple")
transforms = pytest.mark.parametrize("transform", TRANSFORMS)
selects = pytest.mark.parametrize("select", ["union", "count"])


@pytest.fixture(params=["comparison", "buckets"])
def path(request, monkeypatch):
    """Both ways of finding units, whatever the layer's size."""
    monkeypatch.setattr(hashing, "_BUCKETS_FROM_UNITS", 1 if request.param == "buckets" else 1 << 30)
    return request.param


def vectors(seed, n, features):
    return np.float32(np.random.default_rng(seed).normal(size=(n, features)))


def appended(transform, weights, x, powers=3, max_norm=0.83):
    """P(w) and Q(x) in float64, row by row, from their definitions."""
    weights, x = np.float64(weights), np.float64(x)
    longest = max(np.linalg.norm(w) for w in weights)
    p, q = [], []
    for w in weights:
        w = w * (1.0 if transform == "simple" else max_norm) / longest
        n = np.linalg.norm(w)
        tail = {
            "l2": [n ** (2**i) for i in range(1, powers + 1)],
            "sign": [0.5 - n ** (2**i) for i in range(1, powers + 1)],
            "simple": [np.sqrt(max(0.0, 1 - n**2))],
        }[transform]
        p.append([*w, *tail])
    for v in x:
        tail = {"l2": [0.5] * powers, "sign": [0.0] * powers, "simple": [0.0]}[transform]
        q.append([*(v / np.linalg.norm(v)), *tail])
    return np.array(p), np.array(q)


def slow_codes(a, tables):
    """Codes of rows of P or Q, bit by bit, and how far the nearest projection is from zero."""
    projected = a @ np.concatenate([np.float64(tables.projections), np.float64(tables.tail)])
    num_tables = tables.codes.shape[0]
    bits = projected.shape[1] // num_tables
    codes = np.zeros((len(a), num_tables), int)
    for t in range(num_tables):
        for b in range(bits):
            codes[:, t] += (projected[:, t * bits + b] >= 0) << b
    return codes, np.abs(projected).min()


@transforms
@pytest.mark.parametrize("projection", ["rademacher", "gaussian"])
def test_codes_are_those_of_the_definition(transform, projection):
    """Units by P, inputs by Q, one projection after another."""
    weights, x = vectors(0, 12, 7), vectors(1, 5, 7)
    tables = build(jax.random.key(0), weights, num_bits=4, transform=transform, projection=projection)
    p, q = appended(transform, weights, x)
    for actual, a in ((tables.codes.T, p), (query_codes(tables, x), q)):
        expected, margin = slow_codes(a, tables)
        assert margin > 1e-6  # no sign hangs on rounding
        np.testing.assert_array_equal(actual, expected)
    same = slow_codes(q, tables)[0][:, None] == slow_codes(p, tables)[0][None]
    np.testing.assert_array_equal(collisions(tables, x), same.sum(-1))


@transforms
def test_rebuild_hashes_anew_by_the_same_functions(transform, path):
    """As built from the new weights; a common factor changes nothing, and the weights are left alone."""
    old, new = vectors(0, 40, 6), vectors(1, 40, 6)
    tables = build(jax.random.key(0), old, transform=transform)
    rebuilt, fresh = rebuild(tables, new), build(jax.random.key(0), new, transform=transform)
    assert tables.has_buckets == (path == "buckets")
    jax.tree.map(np.testing.assert_array_equal, rebuilt, fresh)
    assert np.any(rebuilt.codes != tables.codes)
    np.testing.assert_array_equal(rebuild(tables, 8 * new).codes, rebuilt.codes)


def test_buckets_list_the_units_by_code(monkeypatch):
    """Bucket c of a table holds the ids whose code is c."""
    monkeypatch.setattr(hashing, "_BUCKETS_FROM_UNITS", 1)
    tables = build(jax.random.key(0), vectors(0, 50, 6), num_bits=3, num_tables=4)
    for codes, order, offsets in zip(*map(np.asarray, (tables.codes, tables.order, tables.offsets)), strict=True):
        for code in range(8):
            np.testing.assert_array_equal(order[offsets[code] : offsets[code + 1]], np.flatnonzero(codes == code))


@transforms
@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (3, 2), (6, 5)])
def test_collisions_are_as_frequent_as_theory_says(transform, bits, tables):
    """Gaussian bits agree with probability 1 - theta / pi; tables of K, at least one of L. False alarms: 1e-4 in all.

    Units at several angles and lengths; the mean is over independent hash functions.
    """
    x = vectors(1, 1, 16)
    weights = np.concatenate([s * x + 0.7 * vectors(2, 1, 16) for s in (-1.0, -0.3, 0.0, 0.5, 2.0)])
    keys = jax.random.split(jax.random.key(3), 20_000)
    options = dict(num_bits=bits, num_tables=tables, transform=transform, projection="gaussian")
    count = jax.jit(jax.vmap(lambda key: collisions(build(key, jnp.asarray(weights), **options), jnp.asarray(x))[0]))
    counts = np.asarray(count(keys))
    p, (q,) = appended(transform, weights, x)
    cosine = p @ q / (np.linalg.norm(p, axis=1) * np.linalg.norm(q))
    agree = 1 - np.arccos(cosine) / np.pi
    assert np.ptp(agree) > 0.2  # the units do differ
    oracles.assert_mean(counts / tables, agree**bits, 1e-4 / 18)
    oracles.assert_mean(counts > 0, 1 - (1 - agree**bits) ** tables, 1e-4 / 18)
    ours = cosines(build(keys[0], jnp.asarray(weights), **options), jnp.asarray(weights), jnp.asarray(x))[0]
    np.testing.assert_allclose(ours, cosine, atol=1e-5)
    np.testing.assert_allclose(collision_probability(ours, bits, tables), 1 - (1 - agree**bits) ** tables, atol=1e-4)


@pytest.mark.parametrize("transform", ["sign", "simple"])
@pytest.mark.parametrize("projection", ["rademacher", "gaussian"])
def test_collisions_rank_by_inner_product(transform, projection):
    """Units of unequal length: collision counts order them as w . x does. Chance would pass once in 1e6."""
    weights = vectors(0, 300, 32) * np.linspace(0.2, 1, 300)[:, None].astype(np.float32)
    x = vectors(1, 1, 32)
    options = dict(num_tables=100, num_bits=4, transform=transform, projection=projection)
    counts = collisions(build(jax.random.key(0), weights, **options), x)[0]
    rank = stats.spearmanr(counts, weights @ x[0])
    assert rank.statistic > 0 and rank.pvalue < 1e-6


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
    [(60, 7, 4, jnp.float32), (60, 60, 2, jnp.float32), (1, 1, 1, jnp.float32), (61, 20, 3, jnp.bfloat16)],
)
def test_distinct_ids_of_the_asked_size(path, select, units, size, batch, dtype):
    """Distinct, in range, the same for the same key; under jit also for zeros and NaN; of one unit and of all."""
    weights, x = jnp.asarray(vectors(0, units, 6), dtype), jnp.asarray(vectors(1, batch, 6), dtype)
    tables = build(jax.random.key(0), weights, num_bits=2)
    draw = jax.jit(functools.partial(active_set, size=size, select=select))
    for inputs in (x, jnp.zeros_like(x), x.at[0, 0].set(jnp.nan)):
        ids = draw(jax.random.key(1), tables, inputs)
        assert ids.shape == (batch, size) and ids.dtype == jnp.int32
        assert all(len(set(row)) == size and min(row) >= 0 and max(row) < units for row in np.asarray(ids))
        np.testing.assert_array_equal(ids, draw(jax.random.key(1), tables, inputs))
    if size < units:
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
        assert tables.codes.dtype == tables.order.dtype == jnp.int32
        for select in ("union", "count"):
            ids = active_set(jax.random.key(1), tables, x, size=5, select=select)
            assert ids.dtype == jnp.int32 and all(len(set(row)) == 5 for row in np.asarray(ids).tolist())
    finally:
        jax.config.update("jax_enable_x64", False)


def test_large_layers_are_hashed_in_bounded_memory():
    """Neither a projection of all units nor an array of batch x units: 200,000 units, 50 tables, 12 bits."""
    units, features, batch, size = 200_000, 8, 64, 200
    weights = jax.ShapeDtypeStruct((units, features), jnp.float32)
    construct = jax.jit(lambda w: build(jax.random.key(0), w, num_tables=50, num_bits=12))
    tables = jax.eval_shape(construct, weights)
    x = jax.ShapeDtypeStruct((batch, features), jnp.float32)
    query = jax.jit(lambda t, x: active_set(jax.random.key(1), t, x, size=size))
    temporary = [
        f.compile().memory_analysis().temp_size_in_bytes for f in (construct.lower(weights), query.lower(tables, x))
    ]
    kept = sum(a.size * 4 for a in jax.tree.leaves(tables))
    assert temporary[0] < 2 * kept < units * 50 * 12 * 4
    assert temporary[1] < batch * units


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
        jax.tree.map(lambda a, e: np.testing.assert_array_equal(a[1], e), other, one)


BAD = [
    *((dict(num_tables=v), "num_tables") for v in (0, 1.5, True)),
    *((dict(num_bits=v), "num_bits") for v in (0, 31, 2.0)),
    (dict(num_powers=0), "num_powers"),
    (dict(transform="cosine"), "transform"),
    (dict(projection="sparse"), "projection"),
    *((dict(max_norm=v), "max_norm") for v in (0, 1, -0.5, float("nan"), "x")),
    (dict(weights=jnp.ones(3)), "weights"),
    (dict(weights=jnp.ones((3, 0))), "weights"),
    (dict(weights=jnp.ones((3, 4), jnp.int32)), "weights"),
    (dict(weights=[[1.0]]), "weights"),
    (dict(weights=jnp.ones((5, 4)).at[2].set(0)), "weights"),
    *((dict(weights=jnp.ones((5, 4)).at[2, 1].set(v)), "weights") for v in (jnp.nan, jnp.inf)),
]


@pytest.mark.parametrize(("arguments", "name"), BAD, ids=lambda a: a if isinstance(a, str) else "")
def test_build_names_bad_arguments(arguments, name):
    """Every bad argument is a ValueError that begins with its name."""
    arguments = {"weights": jnp.ones((5, 4)), **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        build(jax.random.key(0), **arguments)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: rebuild(t, jnp.ones((5, 3))), "weights"),
        (lambda t: collisions(t, jnp.ones((2, 3))), "x"),
        (lambda t: collisions(t, jnp.ones(4)), "x"),
        (lambda t: collisions(t, jnp.ones((2, 4)).at[1].set(0)), "x"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 4)).at[1, 0].set(jnp.nan), size=2), "x"),
        (lambda t: rebuild(t, jnp.zeros((5, 4))), "weights"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=0), "size"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=6), "size"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=2.0), "size"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 4)), size=2, select="best"), "select"),
        (lambda t: active_set(jax.random.key(0), t, jnp.ones((2, 3)), size=2), "x"),
        (lambda t: active_set(0, t, jnp.ones((2, 4)), size=2), "key"),
        (lambda t: build(jax.random.split(jax.random.key(0), 2), jnp.ones((5, 4))), "key"),
    ],
)
def test_queries_name_bad_arguments(call, name):
    """Every bad argument is a ValueError that begins with its name."""
    with pytest.raises(ValueError, match=f"^{name} must "):
        call(build(jax.random.key(0), jnp.ones((5, 4))))
