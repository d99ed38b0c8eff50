"""Which seed axis is chosen, and how many seeds memory holds at once."""

import dataclasses
import re
from types import SimpleNamespace

import jax
import pytest
from quick_compilation import jit
from small_digits import small_digits

from experiments.cifar import learner
from experiments.cifar.config import Config
from experiments.mlp.config import METHODS, MLPConfig
from experiments.mlp.learner import make_task
from experiments.seeds import compiled, planning
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import compile_training
from experiments.seeds.planning import choose_axis
from experiments.seeds.settings import families

CONFIG = MLPConfig(
    data="digits", images=60, width=12, layers=(2,), epochs=2, methods=("standard",), active=0.3, rehash_every=7
)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(compiled, "jit", jit)


@pytest.fixture(scope="module")
def task():
    return make_task(CONFIG, small_digits(60))


def family_of(**options):
    """The only family of the options."""
    (family,) = families(dataclasses.replace(CONFIG, **options), {"standard": METHODS["standard"]})
    return family


def test_memory_bounds_the_members(task, monkeypatch):
    """Where a program of all seeds would not fit, fewer are trained at once, in even chunks; one in any case."""
    family = family_of(seeds=8, seed_axis="vmap")
    one = compile_training(family, task, SeedAxis("vmap", 2)).bytes / 2
    assert one > 0
    members = {}
    for fits in (100, 3.5, 0.5):
        monkeypatch.setattr(compiled, "_memory", lambda fits=fits: fits * one)
        axis, why = choose_axis(family, task)
        assert (axis, why) == (SeedAxis("vmap", 8), "as asked")
        training = compile_training(family, task, axis)
        members[fits] = training.axis.members
        assert training.bytes <= fits * one or members[fits] == 1
    assert members[100] == 8 and 2 <= members[3.5] <= 4 and members[0.5] == 1
    monkeypatch.undo()
    assert choose_axis(family_of(seeds=8, seed_axis="vmap", seeds_at_once=3), task)[0].members == 3


@pytest.mark.parametrize("seeds", [1, 4])
def test_the_rule(task, monkeypatch, seeds):
    """In turn on a CPU, at once on one accelerator: no clock has a say in it."""
    monkeypatch.setattr(planning, "step_seconds", None)
    assert choose_axis(family_of(seeds=seeds), task) == (SeedAxis("map", 1), "the rule for a CPU")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose_axis(family_of(seeds=seeds), task) == (SeedAxis("vmap", seeds), "the rule for one accelerator")


def test_the_rule_for_seeds_that_are_slower_at_once(task, monkeypatch):
    """In turn on one accelerator, and one on each of several at a time, unless it is said how many."""
    slower = task._replace(faster_at_once=False)
    chip = SimpleNamespace(platform="tpu")
    for devices, kind in (([chip], "map"), ([chip] * 4, "shard")):
        mesh = SimpleNamespace(shape={"seed": len(devices), "data": 1})
        monkeypatch.setattr(planning, "check_mesh", lambda *_, mesh=mesh: mesh)
        axis, _ = choose_axis(family_of(seeds=8), slower, devices)
        assert (axis.kind, axis.members) == (kind, len(devices))
        assert choose_axis(family_of(seeds=8), task, devices)[0].members == 8
        assert choose_axis(family_of(seeds=8, seeds_at_once=4), slower, devices)[0].members == 4


def test_networks_of_convolutions_are_slower_at_once(monkeypatch):
    """`experiments.cifar` states it."""
    monkeypatch.setattr(learner, "load_data", lambda config: small_digits(60))
    assert not learner.make_task(Config(methods=("exact",))).faster_at_once


def test_the_fastest_axis_is_chosen_where_that_is_asked_for(task, monkeypatch):
    """By a trial of each, and it is said why."""
    family = family_of(seeds=3, seed_axis="fastest")
    axis, why = choose_axis(family, task)
    assert axis in (SeedAxis("map", 1), SeedAxis("vmap", 3))
    assert re.fullmatch(r"a step of one seed takes: map [\de.+-]+ ms, vmap [\de.+-]+ ms", why)
    for fastest, members in (("map", 1), ("vmap", 3)):
        monkeypatch.setattr(
            planning, "step_seconds", lambda t, *_, f=fastest, **limits: 1.0 if t.axis.kind == f else 2.0
        )
        axis, why = choose_axis(family, task)
        assert (axis.kind, axis.members) == (fastest, members)
        assert f"{fastest} 1e+03 ms" in why
