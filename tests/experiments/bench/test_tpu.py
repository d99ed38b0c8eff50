"""`experiments.bench tpu`: what it compiles, counts and shows, where libtpu is installed."""

import dataclasses
import io

import pytest
from rich.console import Console

from experiments.bench import chip_trainings, tpu, tpu_counts, tpu_layers, tpu_steps, tpu_sweeps
from experiments.bench.chip_variants import CHIP_VARIANTS, SWEPT
from experiments.bench.options import Bench
from experiments.bench.parts import PARTS
from experiments.bench.random_data import random_digits
from experiments.bench.seeds import only_family
from experiments.bench.single_layers import Sizes
from experiments.bench.tpu_errors import predicted_errors
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import mlp_learner
from jaxapprox import MC, topk


def test_parts_that_are_measured_by_their_names_alone():
    """One says nothing of this machine, and one is meant for accelerators."""
    assert Bench().parts == tuple(name for name in PARTS if name not in ("device", "tpu"))


def test_the_tpu_part_measures_what_it_shows(monkeypatch):
    """On small programs: half of the products for half of the channels, and a chip's memory by seeds."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    sizes = {"conv": Sizes((8, 4, 4, 256), (3, 3, 256, 128))}
    monkeypatch.setattr(tpu_layers, "SIZES", sizes)
    few = {name: tpu_layers.VARIANTS[name] for name in ("exact", "mc 0.5 block, scores kept", "bound")}
    monkeypatch.setattr(tpu_layers, "VARIANTS", few)
    monkeypatch.setattr(chip_trainings, "_MLP_METHODS", ("standard",))
    monkeypatch.setattr(chip_trainings, "_MLP_BATCHES", (128,))
    config = MLPConfig(layers=(1,), width=256, batch_size=32, epochs=1, seeds=10_000, methods=("standard",))
    monkeypatch.setattr(tpu_sweeps, "_family", lambda *_: only_family(config, mlp_learner, random_digits(64)))
    options = Bench(chip_networks=("mlp",), chip_variants=("exact", "mc 0.5 block"), chip_seeds=(1, 8))
    results = tpu.measure(options)
    found = results["tpu"]
    for by_variant in found["layers"].values():
        exact, sampled, bound = by_variant.values()
        assert sampled["flops"] == bound["flops"] == exact["flops"] / 2
        assert bound["bytes"] <= sampled["bytes"] and exact["bytes"] >= exact["operands_and_results"]
        assert not exact["unknown_loops"]
    products = 2 * 128 * (784 * 1000 * 2 + 1000 * 1000 * 3 * 2 + 1000 * 10 * 3)
    assert found["steps"]["MLP, 3 x 1000, batch 128"]["standard"]["flops"] == products
    one, eight, split = (found["sweeps"]["exact"][name] for name in ("1 on a chip", "8 on a chip", "8 over 4 chips"))
    assert eight["flops"] == 8 * one["flops"] and split["flops"] == 2 * one["flops"] > 0
    assert one["memory"] < split["memory"] < eight["memory"]
    assert not one["unknown_loops"] and not split["collectives"]
    console = Console(width=190, file=io.StringIO())
    tpu.show(options, results, console)
    shown = console.file.getvalue()
    assert all(name in shown for name in ("scores kept", "bound", "MLP, 3 x 1000", "8 over 4 chips"))
    assert "…" not in shown


def test_errors_are_predicted_by_the_settings_of_a_sample():
    """Once for all implementations of a product, which do not differ in it."""
    largest = MC(0.5, topk, unit="block", block_size=4)
    errors = predicted_errors(
        (8, 32), (32, 4), {"any": largest, "XLA's": dataclasses.replace(largest, implementation="xla")}
    )
    assert 0 < errors["any"] == errors["XLA's"] < 1


def test_only_what_is_asked_for_is_trained(monkeypatch):
    """A step for each network and variant that the options name."""
    lowered = []
    monkeypatch.setattr(tpu_steps, "counted", lambda lowered, topology: {"needed": 1})
    monkeypatch.setattr(tpu_steps, "_lowered", lambda training, step, topology: lowered.append(training.variant))
    asked = tuple(CHIP_VARIANTS)[::-2]
    options = Bench(chip_networks=("resnet18",), chip_widths=(2,), chip_batches=(4, 8), chip_variants=asked)
    found = tpu_steps.measure_steps(options, None)
    assert list(found) == [f"ResNet-18, width 2, batch {batch}, bfloat16" for batch in (4, 8)]
    assert list(dict.fromkeys(lowered)) == list(asked)
    assert all(list(by_variant) == list(asked) for by_variant in found.values())
    assert set(SWEPT) < set(CHIP_VARIANTS)


def test_a_round_is_counted_by_its_steps():
    """Memory is that of the largest; a step that does not fit says what it needs."""
    first = {"flops": 12.0, "memory": 5, "unknown_loops": 0}
    others = {"flops": 2.0, "memory": 7, "unknown_loops": 0}
    assert tpu_counts.per_step(first, others, 5) == {"flops": 4.0, "memory": 7, "unknown_loops": 0}
    assert tpu_counts.per_step({"needed": 9}, others, 5) == {"needed": 9}


def test_a_program_that_does_not_fit_is_shown_with_what_it_needs():
    layers = {"large": {"exact": {"needed": 123 * 10**9}}}
    console = Console(width=190, file=io.StringIO())
    tpu.show(Bench(), {"tpu": {"topology": "v5e:2x2", "layers": layers}}, console)
    assert "123,000: too much" in console.file.getvalue()
