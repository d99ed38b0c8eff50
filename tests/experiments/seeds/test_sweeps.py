"""Sweeps in one process: settings, segments, seed axes, chunks, the choice of an axis, and their statistics."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick_compilation import jit
from scipy import stats
from small_digits import small_digits

from experiments.cifar.config import Config
from experiments.mlp.__main__ import task as mlp_task
from experiments.mlp.config import MLPConfig
from experiments.mlp.methods import make_learner
from experiments.process.errors import UsageError
from experiments.runs.summary import summarise
from experiments.seeds import compiled as programs
from experiments.seeds import planning
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import compile_training
from experiments.seeds.planning import make_plan
from experiments.seeds.segments import Row, chunks, next_segment, numbered_seeds
from experiments.seeds.settings import families
from experiments.sweep import sweep
from experiments.training.loop import make_train

CONFIG = MLPConfig(
    data="digits", images=60, width=12, layers=(2,), epochs=2, methods=("standard", "alsh"), active=0.3, rehash_every=7
)
KEYS = jax.random.split(jax.random.key(5), 3)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(programs, "jit", jit)


@pytest.fixture(scope="module")
def data():
    return small_digits(60)


def learner_of(method, config):
    return make_learner(method, config, 2, small_digits(60))


def test_settings_are_methods_by_values():
    """Ratio and sampler of the sampled method alone; learning rates of all, in one family."""
    config = Config(ratios=(0.1, 0.5), samplers=("topk", "uniform"), lrs=(0.1, 0.2))
    made = families(config, ("exact", "mc"))
    assert [f.method for f in made] == ["exact", *["mc"] * 4]
    assert [s.name for s in made[0].settings] == ["exact lr 0.1", "exact lr 0.2"]
    values = [(f.config.ratio, f.config.sampler) for f in made[1:]]
    assert values == list(itertools.product(config.ratios, config.samplers))
    assert made[4].settings[1].name == "mc ratio 0.5 sampler uniform lr 0.2"
    assert made[4].settings[1].numbers == {"lrs": 0.2}
    assert [s.name for f in families(Config(), ("exact", "mc")) for s in f.settings] == ["exact", "mc"]


@pytest.mark.parametrize("rehashes", [False, True])
def test_segments_cover_an_epoch(rehashes):
    """Each step once, in order, in whole rounds where they rehash, and no more of them than asked for leads to."""
    rounds = np.array([[0, 0], [0, 4], [4, 8], [8, 10]] if rehashes else [[0, 10]], np.int32)
    for sizes in ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), (3, 100), (5, 1, 1, 1, 1, 1), (100,)):
        done, steps = 0, []
        for size in sizes:
            if done == 10:
                break
            own, span, after = next_segment(rounds, rehashes, done, size)
            taken = [i for start, stop in own[span[0] : span[1]] for i in range(start, stop)]
            assert rehashes or len(taken) == min(size, 10 - done)
            steps += taken
            done = after
            assert steps == list(range(done))
        assert done == 10


@pytest.mark.parametrize("method", ["standard", "alsh"])
def test_however_an_epoch_is_cut(data, method):
    """The state and the total after segments are those of the epoch, to the bit."""
    train = make_train(CONFIG, make_learner(method, CONFIG, 2, data), data)
    start = jit(train.init)(jax.random.key(0))
    whole, mean = jit(train.epoch)(start, data.train, train.rounds[0])
    segment, state, total, done = jit(train.segment), start, train.nothing(), 0
    for size in (1, 9, 20, 1000):
        if done < 60:
            rounds, span, done = next_segment(train.rounds[0], train.rehashes, done, size)
            state, total = segment(state, total, data.train, jnp.int32(0), jnp.asarray(rounds), jnp.asarray(span))
    assert done == 60
    raw = [jax.tree.map(np.asarray, s._replace(key=jax.random.key_data(s.key))) for s in (whole, state)]
    jax.tree.map(np.testing.assert_array_equal, *raw)
    np.testing.assert_allclose(total.loss / 60, mean.loss, rtol=1e-6)  # divided in the program and out of it


def test_every_axis_trains_alike(data):
    """Seeds in turn, at once, and in chunks with a short one at the end: the same, and what the pure run gives."""
    config = dataclasses.replace(CONFIG, methods=("alsh",))
    task = mlp_task(config, data)
    results = {
        axis: sweep(dataclasses.replace(config, seed_axis=kind, seeds_at_once=at_once), KEYS, task)
        for axis, kind, at_once in (("map", "map", 0), ("vmap", "vmap", 0), ("chunks", "vmap", 2))
    }
    for name, metrics in results["map"].items():
        assert metrics.train_loss.shape == metrics.test_accuracy.shape == metrics.train_seconds.shape == (3, 2)
        assert (metrics.test_accuracy_hashed is not None) == (name == "alsh")
        for other in ("vmap", "chunks"):
            np.testing.assert_allclose(results[other][name].train_loss, metrics.train_loss, rtol=2e-3)
            np.testing.assert_allclose(results[other][name].test_accuracy, metrics.test_accuracy, atol=1.5 / 11)
        train = make_train(CONFIG, make_learner(name, CONFIG, 2, data), data)
        _, pure, accuracies = jit(jax.vmap(train.run, in_axes=(0, None, None)))(KEYS, data.train, data.test)
        np.testing.assert_allclose(metrics.train_loss, pure.loss, rtol=2e-3)
        np.testing.assert_allclose(metrics.test_accuracy, accuracies, atol=1.5 / 11)


def test_numbers_share_a_program(data):
    """Two learning rates are one family, and each trains as it does alone."""
    config = dataclasses.replace(CONFIG, methods=("standard",), seed_axis="vmap", lrs=(1e-3, 1e-2))
    task = mlp_task(config, data)
    together = sweep(config, KEYS, task)
    assert list(together) == ["standard lr 0.001", "standard lr 0.01"]
    for name, lr in zip(together, config.lrs, strict=True):
        alone = sweep(dataclasses.replace(config, lrs=(lr,)), KEYS, task)["standard"]
        np.testing.assert_allclose(together[name].train_loss, alone.train_loss, rtol=2e-3)
    assert not np.allclose(*(metrics.train_loss for metrics in together.values()), rtol=0.05)


def test_sweep_refuses_what_are_no_keys():
    for keys in (jnp.zeros((3, 2), jnp.uint32), jax.random.key(0), jax.random.key(0, impl="rbg")[None], KEYS[:0]):
        with pytest.raises(ValueError, match="keys must be"):
            sweep(CONFIG, keys)
    with pytest.raises(UsageError, match="--epochs"):
        sweep(dataclasses.replace(CONFIG, epochs=0), KEYS)


def test_chunks_fill_up_with_the_last_member():
    """Five members by two at once: three chunks, the last one short; every seed has its own key."""
    config = dataclasses.replace(CONFIG, seeds=5, seed=7)
    (family,) = families(config, ("standard",))
    made = chunks(family, numbered_seeds(config), SeedAxis("vmap", 2))
    assert [[seed for _, seed in chunk.members] for chunk in made] == [[7, 8], [9, 10], [11]]
    keys = [jax.random.key_data(jax.random.key(seed)) for seed in (7, 8, 9, 10, 11, 11)]
    np.testing.assert_array_equal(np.concatenate([chunk.keys for chunk in made]), keys)


def test_memory_bounds_the_members(data, monkeypatch):
    """Where a program of all seeds would not fit, fewer are trained at once, in even chunks; one in any case."""
    config = dataclasses.replace(CONFIG, seeds=8, seed_axis="vmap")
    (family,) = families(config, ("standard",))
    one = compile_training(family, learner_of, data, SeedAxis("vmap", 2)).bytes / 2
    assert one > 0
    plans = {}
    for fits in (100, 3.5, 0.5):
        monkeypatch.setattr(planning, "_memory", lambda fits=fits: fits * one)
        plan, training = make_plan(family, learner_of, data)
        plans[fits] = plan.members
        assert training.bytes <= fits * one or plan.members == 1
    assert plans[100] == 8 and 2 <= plans[3.5] <= 4 and plans[0.5] == 1
    monkeypatch.undo()
    asked = dataclasses.replace(family, config=dataclasses.replace(config, seeds_at_once=3))
    assert make_plan(asked, learner_of, data)[0].members == 3


def test_the_fastest_axis_is_chosen(data, monkeypatch):
    """By a trial of each, and the plan says why."""
    config = dataclasses.replace(CONFIG, seeds=3)
    (family,) = families(config, ("standard",))
    plan, _ = make_plan(family, learner_of, data)
    assert plan.why.startswith("a step of one seed takes: map ") and "vmap " in plan.why
    for fastest, members in (("map", 1), ("vmap", 3)):
        monkeypatch.setattr(planning, "_step_seconds", lambda t, *_, f=fastest: 1.0 if t.axis.kind == f else 2.0)
        plan, training = make_plan(family, learner_of, data)
        assert (plan.kind, plan.members) == (fastest, members) == (training.axis.kind, training.axis.members)
        assert "map 1e+03 ms" in plan.why if fastest == "map" else "vmap 1e+03 ms" in plan.why


def test_differences_are_paired():
    """Mean, interval and p-value of a summary are those of the seeds' differences."""
    rng = np.random.default_rng(0)
    accuracies = {"exact": rng.uniform(0.5, 0.9, 6)}
    accuracies["mc"] = accuracies["exact"] - rng.uniform(0.01, 0.03, 6)
    rows = [
        Row(name, seed, 1, 0.0, accuracy, accuracy, None, {}, 1.0, 0.0, 1.0, 1.0)
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    exact, mc = summarise(rows, {"exact": 1.0, "mc": 0.5})
    test = stats.ttest_rel(100 * accuracies["mc"], 100 * accuracies["exact"])
    low, high = test.confidence_interval()
    mean = 100 * np.mean(accuracies["mc"] - accuracies["exact"])
    assert mc.difference == f"{mean:+.2f} ± {(high - low) / 2:.2f}"
    assert mc.p_value == f"{test.pvalue:.2g}"
    spread = stats.t.interval(0.95, 5, 100 * np.mean(accuracies["mc"]), stats.sem(100 * accuracies["mc"]))
    assert mc.interval == f"{spread[0]:.2f} to {spread[1]:.2f}"
    assert exact.difference == exact.p_value == ""
