"""The hashed Linen layer: what it activates, its tables, and its training."""

import functools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import serialization
from flax.errors import InvalidRngError
from jax import lax
from quick_compilation import once

from jaxapprox.linen import ALSHDense, rehash
from jaxapprox.lsh import Tables, active_set, rebuild, shared_active_set

X = jax.random.normal(jax.random.key(0), (4, 6))
forms = pytest.mark.parametrize("form", ["gathered", "masked"])


def keys(seed):
    return dict(zip(("params", "sample"), jax.random.split(jax.random.key(seed)), strict=True))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_deterministic_layer_is_dense(use_bias, dtype):
    """Same parameters for the same key as `nn.Dense`, the same output in evaluation; a checkpoint moves over."""
    options = dict(use_bias=use_bias, dtype=dtype, bias_init=nn.initializers.normal())
    exact, hashed = nn.Dense(40, **options), ALSHDense(40, **options)
    variables = exact.init(jax.random.key(1), X)
    ours = hashed.init(jax.random.key(1), X, deterministic=True)
    chex.assert_trees_all_equal(ours["params"], variables["params"])
    moved = {**ours, "params": variables["params"]}
    expected = exact.apply(variables, X)
    actual = hashed.apply(moved, X, deterministic=True)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(np.float32(actual), np.float32(expected))


@forms
@pytest.mark.parametrize("shared", [False, True])
def test_layer_activates_what_its_tables_find(form, shared):
    """The drawn set of units has the dense layer's outputs, all others 0; leading axes are examples."""
    layer = ALSHDense(40, active=0.1, form=form, shared=shared, bias_init=nn.initializers.normal(), use_bias=True)
    variables = layer.init(keys(1), X, deterministic=True)
    actual = layer.apply(variables, X.reshape(2, 2, 6), deterministic=False, rngs={"sample": jax.random.key(2)})
    dense = X @ variables["params"]["kernel"] + variables["params"]["bias"][None]
    active = np.asarray(actual).reshape(4, 40) != 0
    np.testing.assert_array_equal(active.sum(1), 4)
    np.testing.assert_allclose(np.asarray(actual).reshape(4, 40)[active], dense[active], rtol=1e-5, atol=1e-6)
    assert np.all(active == active[0]) == shared
    choose = shared_active_set if shared else active_set
    seen = {}

    class Spy(ALSHDense):
        def make_rng(self, name):
            seen[name] = super().make_rng(name)
            return seen[name]

    spy = Spy(40, active=0.1, form=form, shared=shared)
    spy.apply(variables, X, deterministic=False, rngs={"sample": jax.random.key(2)})
    ids = np.asarray(choose(seen["sample"], variables["lsh"]["tables"], X, size=4))
    for row, chosen in zip(active, np.broadcast_to(ids, (4, 4)), strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), np.sort(chosen))


def test_evaluation_through_the_hash():
    """With `hashed_evaluation`, deterministic calls hash as well, and need the stream; `init` doesn't."""
    layer = ALSHDense(40, hashed_evaluation=True, deterministic=True)
    variables = once(layer.init, jax.random.key(1), X)
    y = once(layer.apply, variables, X, rngs={"sample": jax.random.key(2)})
    np.testing.assert_array_equal(np.count_nonzero(y, axis=1), 2)
    with pytest.raises(InvalidRngError, match="sample"):
        once(layer.apply, variables, X)


def test_missing_stream_is_an_error():
    layer = ALSHDense(40)
    variables = layer.init(jax.random.key(1), X, deterministic=True)
    with pytest.raises(InvalidRngError, match="sample"):
        layer.apply(variables, X, deterministic=False, rngs={"params": jax.random.key(0)})


class Block(nn.Module):
    """A hashed layer within a module of its own."""

    @nn.compact
    def __call__(self, x, train):
        return ALSHDense(20, active=0.2, name="inner")(x, deterministic=not train)


class Net(nn.Module):
    """Two hashed layers, one of them in a submodule, and an exact one."""

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.relu(ALSHDense(30, active=0.2, name="first")(x, deterministic=not train))
        x = nn.relu(Block(name="rest")(x, train))
        return nn.Dense(3, name="last")(x)


def test_rehash_hashes_the_weights_as_they_are():
    """`rehash` is `rebuild` of every layer's tables, wherever it sits; a call changes none."""
    variables = once(Net().init, keys(1), X)
    _, after = once(Net().apply, variables, X, rngs={"sample": jax.random.key(2)}, mutable=["lsh"])
    chex.assert_trees_all_equal(after["lsh"], variables["lsh"])
    changed = jax.tree.map(lambda p: jnp.flip(p, -1) + 0.1, variables["params"])
    tables = once(rehash, {**variables, "params": changed})
    assert jax.tree.structure(tables) == jax.tree.structure(variables["lsh"])
    for path, params in ((("first",), changed["first"]), (("rest", "inner"), changed["rest"]["inner"])):
        new, old = (functools.reduce(lambda d, k: d[k], path, t)["tables"] for t in (tables, variables["lsh"]))
        chex.assert_trees_all_equal(new, once(rebuild, old, params["kernel"].T))
        assert np.any(new.codes != old.codes)


def test_rehash_maps_over_seeds():
    """The variables of two seeds, stacked, are rehashed as each alone."""
    init = jax.jit(lambda key: Net().init({"params": key, "sample": key}, X))
    stacked = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    stacked = {**stacked, "params": jax.tree.map(lambda p: p + 0.1, stacked["params"])}
    for i in range(2):
        own, one = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in (once(rehash, stacked), stacked))
        chex.assert_trees_all_equal(own, once(rehash, one))
    with pytest.raises(ValueError, match="lsh"):
        rehash({"params": stacked["params"]})


def test_trains_in_nested_scans_and_remat():
    """Steps in an inner scan, a rehash after each in an outer one: the loss falls, and the tables follow."""
    variables = Net().init(keys(1), X)
    target = jnp.asarray([[1.0, -1.0, 0.5]])

    def loss_of(params, tables, key):
        net = jax.checkpoint(lambda p: Net().apply({"params": p, "lsh": tables}, X, rngs={"sample": key}))
        return jnp.mean(jnp.square(net(params) - target))

    def step(carry, key):
        params, tables = carry
        loss, grads = jax.value_and_grad(loss_of)(params, tables, key)
        return (jax.tree.map(lambda p, g: p - 0.05 * g, params, grads), tables), loss

    def round_of_steps(carry, keys):
        (params, _), losses = lax.scan(step, carry, keys)
        return (params, rehash({"params": params, "lsh": carry[1]})), losses

    sample_keys = jax.random.split(jax.random.key(3), (10, 20))
    start = variables["params"], variables["lsh"]
    (params, tables), losses = jax.jit(lambda keys: lax.scan(round_of_steps, start, keys))(sample_keys)
    assert losses[-1].mean() < 0.5 * losses[0].mean()
    expected = once(rehash, {"params": params, "lsh": variables["lsh"]})
    chex.assert_trees_all_equal(tables, expected)
    assert isinstance(tables["first"]["tables"], Tables)


def test_diagnostics_are_written_when_asked_for():
    """A hashed call with the collection mutable writes it; init and exact calls do not, and the output is the same."""
    layer = ALSHDense(40, active=0.1)
    variables = once(layer.init, keys(0), X, deterministic=False)
    assert "diagnostics" not in variables
    call = {"rngs": {"sample": jax.random.key(2)}}
    y, state = once(layer.apply, variables, X, deterministic=False, mutable=["diagnostics"], **call)
    np.testing.assert_array_equal(y, once(layer.apply, variables, X, deterministic=False, **call))
    own = state["diagnostics"]["alsh"]
    assert own.active_units == np.any(np.asarray(y) != 0, 0).sum()
    assert own.drift == 0 and 0 <= own.recall <= 1
    _, state = once(layer.apply, variables, X, deterministic=True, mutable=["diagnostics"])
    assert not state.get("diagnostics")


@pytest.mark.parametrize("units", [40, 2100])
def test_variables_that_have_lived(units):
    """Boxed parameters, NumPy arrays and dicts in the place of `Tables` give the same outputs and the same tables."""
    boxed = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "model"))
    layer = ALSHDense(units, active=0.1, kernel_init=boxed, deterministic=False)
    variables = once(layer.init, jax.random.key(1), X)
    stored = serialization.to_bytes(variables)
    plain = nn.meta.unbox(variables)
    call = functools.partial(once, layer.apply, rngs={"sample": jax.random.key(2)})
    expected, new = call(plain, X), once(rehash, plain)
    for other in (
        variables,
        jax.device_get(variables),
        serialization.from_bytes(variables, stored),
        {"params": plain["params"], "lsh": serialization.msgpack_restore(stored)["lsh"]},
        pickle.loads(pickle.dumps(jax.device_get(plain))),
    ):
        np.testing.assert_array_equal(call(other, X), expected)
        chex.assert_trees_all_equal(once(rehash, other), new)
    assert all(leaf.size for leaf in jax.tree.leaves(variables))  # stores refuse arrays without entries
    broken = {**plain, "lsh": {"tables": {"codes": 1}}}
    for function in (lambda: call(broken, X), lambda: rehash(broken)):
        with pytest.raises(
            ValueError, match=r"lsh.* must be jaxapprox.lsh.Tables or a dict of projections, .* got a dict"
        ):
            function()


def test_takes_what_dense_takes():
    """A product of its own is used in the masked form, and can't be gathered."""

    def doubled(*args, **kwargs):
        return 2 * lax.dot_general(*args, **kwargs)

    options = dict(active=0.1, precision="highest", dot_general=doubled, deterministic=False)
    variables = once(ALSHDense(40, **options).init, jax.random.key(1), X)
    rngs = {"sample": jax.random.key(2)}
    y = once(ALSHDense(40, **options).apply, variables, inputs=X[:, None], rngs=rngs)[:, 0]
    exact = nn.Dense(40, dot_general=doubled).apply({"params": variables["params"]}, X)
    np.testing.assert_array_equal(y, np.where(np.asarray(y) != 0, exact, 0))
    with pytest.raises(ValueError, match=r"^form must be masked or auto .* got gathered"):
        once(ALSHDense(40, **options, form="gathered").apply, variables, X, rngs=rngs)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        *((dict(active=a), "active") for a in (0, 1.5, True, "x")),
        (dict(form="sparse"), "form"),
        (dict(select="best"), "select"),
        (dict(num_bits=0), "num_bits"),
        (dict(transform="cosine"), "transform"),
    ],
    ids=lambda a: a if isinstance(a, str) else next(iter(a)),
)
def test_bad_options_are_named(options, name):
    """What the layer cannot do is a ValueError that begins with the attribute's name."""
    with pytest.raises(ValueError, match=f"^{name} must "):
        ALSHDense(8, deterministic=False, **options).init(keys(0), X)


def test_missing_and_foreign_tables_are_named():
    """Hashing without the collection, or with another layer's tables, says what to pass; exact calls need none."""
    layer = ALSHDense(8)
    variables = once(layer.init, keys(0), X, deterministic=True)
    params = {"params": variables["params"]}
    rngs = {"sample": jax.random.key(0)}
    with pytest.raises(ValueError, match=r"^variables must hold .* collection lsh"):
        once(layer.apply, params, X, deterministic=False, rngs=rngs)
    np.testing.assert_array_equal(
        once(layer.apply, params, X, deterministic=True), once(layer.apply, variables, X, deterministic=True)
    )
    for of, x in ((ALSHDense(9), X), (layer, X[:, :5])):
        other = once(of.init, keys(0), x, deterministic=True)
        with pytest.raises(ValueError, match=r"^lsh must hold tables for \(units, features\) = \(8, 6\)"):
            once(layer.apply, {**params, "lsh": other["lsh"]}, X, deterministic=False, rngs=rngs)
