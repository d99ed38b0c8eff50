"""`--dtype bfloat16`: networks compute in it, and what is kept from step to step stays float32."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forked import assert_usage_error
from quick_compilation import jit
from small_digits import small_digits
from small_text import small_lines

from experiments.characters import config as characters
from experiments.characters.data import CharactersData
from experiments.characters.learner import characters_learner
from experiments.cifar import config as cifar
from experiments.cifar.learner import cnn_learner
from experiments.mlp import config as mlp
from experiments.mlp.learner import mlp_learner
from experiments.words import config as words
from experiments.words import data as words_data
from experiments.words.learner import words_learner
from experiments.words.text import to_text

CNN = cifar.Config(width=2, blocks=(1,), epochs=1, batch_size=8)
PERCEPTRON = mlp.MLPConfig(width=200, layers=(2,), epochs=1, ratios=(0.5,))
TRANSFORMER = characters.CharactersConfig(blocks=1, features=8, heads=2, window=6, batch_sizes=(4,), steps=20)
WORDS = words.WordsConfig(features=8, window=2, batch_sizes=(9,), candidates=(20,), subsample=0, queries=9, num_bits=2)

WIDE = dataclasses.replace(PERCEPTRON, width=400, layers=(3,), ratios=(0.1,))

LEARNERS = {
    cifar.Config: cnn_learner,
    mlp.MLPConfig: mlp_learner,
    characters.CharactersConfig: characters_learner,
    words.WordsConfig: words_learner,
}
CASES = [
    *((CNN, method) for method in ("exact", "mc", "alsh", "norms")),
    *((PERCEPTRON, method) for method in mlp.METHODS),
    *((TRANSFORMER, method) for method in characters.METHODS),
    *((WORDS, method) for method in words.METHODS),
]
# Hashes project in float32, and the gradient of a softmax is float32 where it enters a product.
FLOAT32_TOO = {"alsh", *characters.METHODS, *words.METHODS}
cases = pytest.mark.parametrize(
    ("config", "method"), CASES, ids=lambda c: c if isinstance(c, str) else type(c).__name__
)


@pytest.fixture(scope="module")
def data():
    """What each program trains on, by its options."""
    stretches = jax.random.randint(jax.random.key(0), (3, 97), 0, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words_data, "load_text", lambda path, min_count: to_text("own", small_lines(), min_count=1))
        text = words_data.load_data(WORDS)
    return {
        cifar.Config: small_digits(),
        mlp.MLPConfig: small_digits(),
        characters.CharactersConfig: CharactersData("own", "abcde", stretches, stretches[:2, :7]),
        words.WordsConfig: text,
    }


def begun(config, method, own, dtype):
    """A learner, and the shapes and dtypes of its first state and batch."""
    make = LEARNERS[type(config)]
    config = dataclasses.replace(config, dtype=dtype)
    learner = make(config, config.known_methods[method].layers(config), own)
    state = jax.eval_shape(learner.init, *jax.random.split(jax.random.key(1)))
    batch = jax.eval_shape(lambda state: learner.feed.batches(state, own.train, jnp.int32(0))(jnp.int32(0)), state)
    return learner, state, batch


def products(jaxpr):
    """The dtypes of the operands of all products of floating arrays, within loops and calls too."""
    for equation in jaxpr.eqns:
        operands = [value.aval.dtype for value in equation.invars]
        is_product = equation.primitive.name in ("dot_general", "conv_general_dilated")
        if is_product and all(jnp.issubdtype(dtype, jnp.floating) for dtype in operands):
            yield tuple(map(str, operands))
        for inner in jax.tree.leaves(equation.params):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@cases
def test_products_are_in_bfloat16_and_what_is_kept_in_float32(config, method, data):
    """Of the forward pass all products, as the evaluation shows; with the gradients' at least those."""
    own, low = data[type(config)], ("bfloat16", "bfloat16")
    learner, state, batch = begun(config, method, own, "bfloat16")
    evaluated = set(products(jax.make_jaxpr(learner.evaluations[0])(state, state.batch_stats, own.test).jaxpr))
    assert evaluated == ({low, ("float32", "float32")} if method == "hashed" else {low})  # which evaluates its hash too
    trained = set(products(jax.make_jaxpr(learner.step)(state, *batch).jaxpr))
    assert low in trained if method in FLOAT32_TOO else trained == {low}
    new, metrics = jax.eval_shape(learner.step, state, *batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    kept = jax.tree.leaves((new.params, new.batch_stats, new.opt_state, metrics))
    assert {a.dtype.name for a in kept if jnp.issubdtype(a.dtype, jnp.floating)} == {"float32"}


@pytest.mark.parametrize(("config", "method"), [(WIDE, "alsh"), (WIDE, "mc")], ids=["alsh", "mc"])
def test_parameters_that_are_not_active_are_not_cast(config, method, data):
    """Memory beside the parameters is no more than in float32: a cast of them all would be half of their size."""
    own = data[type(config)]
    memory = {}
    for dtype in ("float32", "bfloat16"):
        learner, state, batch = begun(config, method, own, dtype)
        compiled = jit(learner.step, donate_argnums=0).lower(state, *batch).compile()
        memory[dtype] = compiled.memory_analysis().temp_size_in_bytes
    assert memory["bfloat16"] < memory["float32"] + WIDE.width**2 / 2


def test_gradients_are_those_of_float32_but_for_rounding(data):
    """Of the exact networks, as a whole: each number is rounded by up to 1 in 256, not all in one direction."""
    for config, method in ((CNN, "exact"), (PERCEPTRON, "standard"), (TRANSFORMER, "exact"), (WORDS, "exact")):
        own, found = data[type(config)], []
        for dtype in ("float32", "bfloat16"):
            learner, *_ = begun(config, method, own, dtype)
            state = jit(learner.init)(*jax.random.split(jax.random.key(1)))
            take = learner.feed.batches(state, own.train, jnp.int32(0))
            leaves = jax.tree.leaves(jit(learner.gradient)(state, *take(jnp.int32(0))))
            found.append(np.concatenate([np.ravel(leaf) for leaf in leaves]))
        error = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
        assert 0 < error < 0.03, (config, error)


DIGITS = ("--images", "400", "--epochs", "3")
PROGRAMS = {
    "cifar": ("--preset", "quick", "--width", "4", "--blocks", "1", *DIGITS),
    "mlp": ("--methods", "standard", "alsh", "mc", "--width", "40", "--active", "0.5", "--ratio", "0.5", *DIGITS),
    "words": ("--features", "8", "--window", "2", "--subsample", "0", "--candidates", "8", "--steps", "200"),
    "characters": ("--methods", "exact", "mc", "--blocks", "1", "--features", "8", "--heads", "2", "--steps", "120"),
}
TEXT = ("--batch-size", "16", "--evaluations", "3", "--min-count", "1")
MORE = {
    "words": (*TEXT, "--queries", "2", "--num-bits", "2"),
    "characters": (*TEXT, "--lr", "0.02", "--window", "8", "--windows", "20"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_learn_in_bfloat16(program, forked, tmp_path):
    """Losses fall; the option is recorded, the summary says it, and another dtype is refused."""
    text, out = tmp_path / "small.txt", tmp_path / "run"
    text.write_text("\n".join(small_lines()), encoding="utf-8")
    options = (*PROGRAMS[program], *MORE.get(program, ()), *(("--text", str(text)) if program in MORE else ()))
    module = f"experiments.{program}"
    done = forked.run(module, *options, "--dtype", "bfloat16", "--seed-axis", "map", "--out", str(out))
    assert done.returncode == 0, done.output
    losses: dict[str, list[float]] = {}
    for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()):
        losses.setdefault(row["method"], []).append(row["train_loss"])
    assert all(each[-1] < 0.9 * each[0] for each in losses.values()), losses
    assert json.loads((out / "config.json").read_text())["config"]["dtype"] == "bfloat16"
    assert "Computed in bfloat16." in (out / "summary.md").read_text()
    refused = forked.run(module, "--dtype", "float16", *options, "--out", str(tmp_path / "none"))
    assert_usage_error(refused, "--dtype")
    assert not (tmp_path / "none").exists()
