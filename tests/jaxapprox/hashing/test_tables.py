"""Hash tables: codes against NumPy, buckets, collisions against theory, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from compiled_lsh import build, collisions, query_codes, rebuild
from oracles import vectors
from scipy import stats

from jaxapprox import lsh
from jaxapprox._src.hashing import building
from jaxapprox.lsh import collision_probability, cosines

transforms = pytest.mark.parametrize("transform", ["l2", "sign", "simple"])


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
def test_queries_of_few_features(transform):
    """Given by the features that are not 0, an input has the codes that it has in full; an unused id adds nothing."""
    tables = build(jax.random.key(0), vectors(0, 12, 7), transform=transform)
    features, values = np.array([5, 1, 6], np.int32), vectors(1, 4, 3)
    full = np.zeros((4, 7), np.float32)
    full[:, features] = values
    np.testing.assert_array_equal(query_codes(tables, values, features), query_codes(tables, full))
    unused = np.concatenate([values, np.zeros((4, 1), np.float32)], 1), np.array([*features, 7], np.int32)
    np.testing.assert_array_equal(query_codes(tables, *unused), query_codes(tables, full))


@transforms
def test_rebuild_hashes_anew_by_the_same_functions(transform, path):
    """As built from the new weights; a common factor changes nothing, and the weights are left alone."""
    old, new = vectors(0, 40, 6), vectors(1, 40, 6)
    tables = build(jax.random.key(0), old, transform=transform)
    rebuilt, fresh = rebuild(tables, new), build(jax.random.key(0), new, transform=transform)
    assert tables.has_buckets == (path == "buckets")
    chex.assert_trees_all_equal(rebuilt, fresh)
    assert np.any(rebuilt.codes != tables.codes)
    np.testing.assert_array_equal(rebuild(tables, 8 * new).codes, rebuilt.codes)


def test_buckets_list_the_units_by_code(monkeypatch):
    """Bucket c of a table holds the ids whose code is c."""
    monkeypatch.setattr(building, "_BUCKETS_FROM_UNITS", 1)
    tables = lsh.build(jax.random.key(0), vectors(0, 50, 6), num_bits=3, num_tables=4)
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


def test_large_layers_are_hashed_in_bounded_memory():
    """No projection of all units: 200,000 units, 50 tables, 12 bits."""
    units, features = 200_000, 8
    weights = jax.ShapeDtypeStruct((units, features), jnp.float32)
    construct = jax.jit(lambda w: build(jax.random.key(0), w, num_tables=50, num_bits=12))
    temporary = construct.lower(weights).compile().memory_analysis().temp_size_in_bytes
    kept = sum(a.size * 4 for a in jax.tree.leaves(jax.eval_shape(construct, weights)))
    assert temporary < 2 * kept < units * 50 * 12 * 4


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
]


@pytest.mark.parametrize(("arguments", "name"), BAD, ids=lambda a: a if isinstance(a, str) else "")
def test_build_names_bad_arguments(arguments, name):
    """Every bad argument is a ValueError that begins with its name."""
    arguments = {"weights": jnp.ones((5, 4)), **arguments}
    with pytest.raises(ValueError, match=f"^{name} must "):
        lsh.build(jax.random.key(0), **arguments)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: lsh.rebuild(t, jnp.ones((5, 3))), "weights"),
        (lambda t: lsh.collisions(t, jnp.ones((2, 3))), "x"),
        (lambda t: lsh.collisions(t, jnp.ones(4)), "x"),
        (lambda t: lsh.collisions({**t._asdict(), "order": t.codes, "more": 1}, jnp.ones((2, 4))), "tables"),
        (lambda t: lsh.rebuild(tuple(t), jnp.ones((5, 4))), "tables"),
        (lambda t: lsh.build(jax.random.split(jax.random.key(0), 2), jnp.ones((5, 4))), "key"),
    ],
)
def test_bad_arguments_are_named(call, name):
    """Every bad argument is a ValueError that begins with its name."""
    with pytest.raises(ValueError, match=f"^{name} must "):
        call(build(jax.random.key(0), jnp.ones((5, 4))))


def test_zeros_have_codes_as_anything_else(path):
    """Units and inputs of zeros: those of the definition with P(0) and Q(0), compiled or not; NaN gives valid ones."""
    weights, x = vectors(0, 12, 7), vectors(1, 5, 7)
    weights[3], x[2] = 0, 0
    for transform in ("l2", "sign", "simple"):
        tables = build(jax.random.key(0), weights, num_bits=4, transform=transform)
        assert np.all(np.asarray(tables.codes)[:, 3] == np.asarray(rebuild(tables, 2 * weights).codes)[:, 3])
        codes = query_codes(tables, x)
        np.testing.assert_array_equal(codes, lsh.query_codes(tables, x))
        np.testing.assert_array_equal(codes[2], query_codes(tables, np.zeros((1, 7), np.float32))[0])
        broken = rebuild(tables, np.where(np.arange(7) == 1, np.nan, weights))
        assert np.all((np.asarray(broken.codes) >= 0) & (np.asarray(broken.codes) < 16))


def test_tables_from_a_file_serve(path):
    """NumPy arrays, and a dict by field in the place of `Tables`, with or without what is None."""
    weights, x = vectors(0, 40, 6), vectors(1, 4, 6)
    tables = build(jax.random.key(0), weights)
    host = jax.device_get(tables)
    stored = {name: array for name, array in host._asdict().items() if array is not None}
    for other in (host, host._asdict(), stored):
        chex.assert_trees_all_equal(rebuild(other, 2 * weights + 1), rebuild(tables, 2 * weights + 1))
        for function in (query_codes, collisions):
            np.testing.assert_array_equal(function(other, x), function(tables, x))


@pytest.mark.parametrize("varying", ["weights", "key"])
def test_buckets_on_a_mesh(varying):
    """As without one, whichever of the arguments may differ from device to device."""
    weights = jnp.asarray(vectors(0, building._BUCKETS_FROM_UNITS, 3))
    mesh, split = jax.sharding.Mesh(jax.devices()[:1], ("d",)), jax.sharding.PartitionSpec("d")
    specs = tuple(split if name == varying else jax.sharding.PartitionSpec() for name in ("key", "weights"))

    def order(key, weights):
        return build(key[0], weights, num_tables=2).order

    keys = jax.random.split(jax.random.key(0), 1)
    found = jax.jit(jax.shard_map(order, mesh=mesh, in_specs=specs, out_specs=split))(keys, weights)
    np.testing.assert_array_equal(found, jax.jit(order)(keys, weights))
