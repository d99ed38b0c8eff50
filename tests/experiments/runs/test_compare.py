"""How a comparison goes on where it was."""

import dataclasses

import pytest

from experiments.mlp.config import METHODS, MLPConfig
from experiments.runs.compare import _planned
from experiments.seeds import planning
from experiments.seeds.axis import SeedAxis
from experiments.seeds.planning import Plan, choose_axis
from experiments.seeds.settings import families


@pytest.mark.parametrize("axis", [SeedAxis("map", 1), SeedAxis("vmap", 3), SeedAxis("vmap", 2)])
@pytest.mark.parametrize("asked", ["auto", "fastest"])
def test_a_kept_plan_is_chosen_again(monkeypatch, axis, asked):
    """Whatever chose it, a clock as well: which is not asked again."""
    monkeypatch.setattr(planning, "step_seconds", None)
    (family,) = families(MLPConfig(seeds=3, seed_axis=asked), {"standard": METHODS["standard"]})
    assert choose_axis(_planned(Plan.of(axis, "it was the fastest"), family), None)[0] == axis


def test_without_a_plan_the_options_choose():
    (family,) = families(dataclasses.replace(MLPConfig(seeds=3), seed_axis="vmap"), {"standard": METHODS["standard"]})
    assert _planned(None, family) is family
