"""`experiments.bench`: its parts, and what they share. What is measured plays no part here."""

import dataclasses
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from forked import ROOT, assert_usage_error
from rich.console import Console

from experiments.bench import device, device_layers, device_rates, mlp_step, peer_process, seeds, transformer_step
from experiments.bench.in_place import in_place
from experiments.bench.options import Bench
from experiments.bench.parts import PARTS
from experiments.bench.random_data import random_cifar, random_digits
from experiments.bench.single_layers import Sizes
from experiments.bench.transformer_variants import Variant
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.process.errors import UsageError
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import compile_training

RECORDED = {
    "kernels": "bench/convolutions",
    "resnet18": "bench/convolutions",
    "device": "h100/layers",
}  # the others: by their own names
MORE = [
    *(
        ("tpu", f"bench/tpu-{of}")
        for of in ("float32", "layers", "batches", "256-512", "256-1024", "sweeps", "resample")
    ),
    ("device", "h100/steps"),
    ("sweep", "h100/sweep"),
]


@pytest.mark.parametrize(("name", "record"), [*((name, RECORDED.get(name, f"bench/{name}")) for name in PARTS), *MORE])
def test_recorded_results_are_shown(name, record):
    """Every part prints the results that are recorded, which have the names that it reads."""
    results = json.loads((ROOT / "experiments" / "results" / record / "bench.json").read_text())
    console = Console(width=120, file=io.StringIO())
    PARTS[name].show(Bench(), results, console)
    assert len(console.file.getvalue().splitlines()) >= 3


def test_the_mlp_part_measures_what_it_shows(monkeypatch):
    """On small networks: every method by round, and plain Flax."""
    for constant, value in (("_STEPS", 3), ("_LAYERS", (1,)), ("_OPTIMIZERS", ("sgd",)), ("_MEGABYTES", 1)):
        monkeypatch.setattr(mlp_step, constant, value)
    few = {name: mlp_step.METHODS[name] for name in ("standard", "alsh")}
    monkeypatch.setattr(mlp_step, "METHODS", few)
    monkeypatch.setattr(mlp_step, "has", lambda python, library: False)
    results = mlp_step.measure(Bench(rounds=1))
    assert results.keys() == {"bytes_per_second", "mlp_step_seconds"} and results["bytes_per_second"] > 0
    assert {name: len(times) for name, times in results["mlp_step_seconds"]["1 sgd"].items()} == {
        "standard": 2,
        "alsh": 2,
        "flax": 2,
    }
    console = Console(width=120, file=io.StringIO())
    mlp_step.show(Bench(), results, console)
    assert "bound / standard" in console.file.getvalue()


def test_the_transformer_part_measures_what_it_shows(monkeypatch):
    """On a small network: every variant by round, the noise that samples add, and what they save."""
    variants = (Variant(), Variant(0.3), Variant(kept="products kept"))
    for constant, value in (("_RATIOS", (0.3,)), ("_VARIANTS", variants), ("_GROUPS", 3)):
        monkeypatch.setattr(transformer_step, constant, value)
    options = Bench(blocks=1, features=64, sequences=4, tokens=16, rounds=2, train_steps=1)
    found = transformer_step.measure(options)["transformer"]
    assert {name: len(times) for name, times in found["step_seconds"].items()} == {
        "exact": 2,
        "kernel 0.3": 2,
        "products kept": 2,
    }
    assert found["flops"]["kernel 0.3"] < 0.9 * found["flops"]["exact"] < 0.9 * found["flops"]["products kept"]
    assert found["added_variance"].keys() == {"0.3"} and found["efficiency"].keys() == {"kernel 0.3"}
    console = Console(width=100, file=io.StringIO())
    transformer_step.show(options, {"transformer": found}, console)
    assert "kernel 0.3" in console.file.getvalue() and "…" not in console.file.getvalue()


def test_the_device_part_measures_what_it_shows(monkeypatch):
    """On small programs: rates, every variant by round, products that are computed, and why others are refused."""
    monkeypatch.setattr(device_layers, "SIZES", {"dense": Sizes((16, 256), (256, 8))})
    for constant, small in (("_SIDE", 64), ("_COPIED", 4096)):
        monkeypatch.setitem(getattr(device_rates, constant), "cpu", small)
    options = Bench(
        rounds=2,
        chip_networks=("resnet18",),
        chip_widths=(2,),
        chip_batches=(4,),
        chip_variants=("exact", "mc 0.5 topk"),
    )
    results = device.measure(options)
    found = results["device"]
    layer, (step,) = found["layers"]["dense"], found["steps"].values()
    assert {len(times) for by in (layer, step) for times in by["seconds"].values()} == {2}
    exact = 3 * 2 * 16 * 256 * 8
    shares = {"exact": 1, "bound": 1 / 2, "mc 0.25 block": 1 / 4, "mc 0.5 kernel": 2.5 / 3}
    assert {name: layer["flops"][name] / exact for name in shares} == pytest.approx(shares)
    assert layer["operands_and_results"] == 2 * 2 * (16 * 256 + 256 * 8 + 16 * 8)
    kernels = {name for name in device_layers.FORMS if name.endswith("kernels")}
    assert layer["refused"].keys() == kernels and all("on a cpu" in why for why in layer["refused"].values())
    assert step["flops"]["mc 0.5 topk"] < step["flops"]["exact"]
    console = Console(width=120, file=io.StringIO())
    device.show(options, results, console)
    shown = console.file.getvalue()
    assert all(name in shown for name in ("bound", "refused", "ResNet-18, width 2", "GB/s")) and "…" not in shown


def test_the_sweep_part_times_training_alone():
    """Not the making of the first states, which a whole run has once."""
    config = MLPConfig(layers=(1,), width=8, epochs=1, seeds=10_000, methods=("standard",))
    family, task = seeds.only_family(config, mlp_learner, random_digits(2))
    in_turn = compile_training(family, task, SeedAxis("map", 1))
    asked = []

    def slow_init(hyperparameters, keys):
        asked.append(len(keys))
        time.sleep(0.5)
        return in_turn.init(hyperparameters, keys)

    epoch = seeds._epoch(dataclasses.replace(in_turn, init=slow_init), family, task, 2)
    assert 0 < epoch() < 1 and asked == [1, 1, 1, 1]


def test_the_sweep_part_measures_what_it_shows(monkeypatch):
    """On a small network: every number of seeds along every axis, by round."""
    config = MLPConfig(layers=(1,), width=8, epochs=1, seeds=10_000, methods=("standard",))
    monkeypatch.setattr(seeds, "_resnet18", lambda: seeds.only_family(config, mlp_learner, random_digits(2)))
    monkeypatch.setattr(seeds, "_mlp", seeds._resnet18)
    found = seeds.measure(Bench(seeds=(1, 2), rounds=3))
    times = found["sweep"]["mlp"]["seconds"]
    assert {(axis, count, len(each)) for axis in times for count, each in times[axis].items()} == {
        ("map", "1", 3),
        ("map", "2", 3),
        ("vmap", "2", 3),
    }
    console = Console(width=100, file=io.StringIO())
    seeds.show(Bench(), found, console)
    assert "seeds / hour" in console.file.getvalue()


_OWN_PART = """
import sys
from experiments.bench.parts import PARTS
PARTS.register("own", "own_part")
from experiments.bench.__main__ import main
from experiments.bench.options import Bench
from experiments.process.command_line import read_options
main(read_options("experiments.bench", Bench))
"""
_OWN_MODULE = """
def measure(options):
    return {"width": options.width}
def show(options, results, console):
    console.print(f"width {results['width']}")
"""


def test_a_new_part_is_a_module_and_a_line(tmp_path):
    """The command line takes its name, and the record has its results."""
    (tmp_path / "own_part.py").write_text(_OWN_MODULE)
    command = [sys.executable, "-c", _OWN_PART, "own", "--width", "3", "--out", str(tmp_path / "out")]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "width 3\n"
    record = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert record.keys() == {"environment", "width"} and record["width"] == 3


def test_a_step_in_place_goes_on_from_the_last_one():
    step = in_place(lambda state, by: (state + by, state), jnp.zeros(3), jnp.ones(3))
    results = [step() for _ in range(3)]
    assert [float(before[0]) for _, before in results] == [0, 1, 2]
    assert float(results[-1][0][0]) == 3


def test_random_images_have_the_shapes_of_the_data():
    cifar, digits = random_cifar(20), random_digits(1000)
    assert cifar.train.images.shape == (20, 32, 32, 3) and np.bincount(cifar.train.labels).tolist() == [2] * 10
    assert digits.train.images.shape == (1000, 28, 28, 1) and digits.train.images.dtype == jnp.uint8
    assert float(jnp.mean(digits.train.images > 0)) == pytest.approx(0.19, abs=0.01)


def test_a_peer_is_a_program_that_prints_lines(tmp_path, monkeypatch):
    """Its options are passed on; the last line that it leaves on stderr is shown where it fails."""
    monkeypatch.setattr(peer_process, "_PEERS", tmp_path)
    (tmp_path / "peer.py").write_text("import json, sys; print(json.dumps({'seconds': sys.argv[1:]}))")
    python = Path(sys.executable)
    options = ["--batch-size", "2", "--evaluate-at", "0.5", "1"]
    assert peer_process.torch_seconds(python, "peer", batch_size=2, evaluate_at=(0.5, 1)) == options
    assert peer_process.run_peer("--tf-python", python, "peer", lr=3) == [{"seconds": ["--lr", "3"]}]
    (tmp_path / "peer.py").write_text("raise SystemExit('no torch')")
    with pytest.raises(UsageError, match=r"^--torch-python: .*peer\.py failed: \['no torch'\]$"):
        peer_process.torch_seconds(python, "peer")


def test_the_peers_can_be_found():
    peers = ("torch_mlp", "torch_resnet", "torch_words", "tf_words")
    assert all((peer_process._PEERS / f"{name}.py").exists() for name in peers)


@pytest.mark.parametrize(
    "flags",
    [
        ("--ratios", "2"),
        ("--torch-python", "/nowhere"),
        ("--rounds", "0"),
        ("--seeds", "2"),
        ("--classes", "0"),
        ("--text", "/nowhere"),
        ("--seconds", "0"),
        ("--features", "100"),
        ("--sequences", "6"),
        ("--tf-python", "/nowhere"),
        ("--chip-seeds", "0"),
        ("--out", "/proc/nowhere"),
    ],
)
def test_bad_flags(forked, flags):
    """Each is refused before anything is measured."""
    assert_usage_error(forked.run("experiments.bench", *flags), flags[0])


def test_sweeps_are_not_timed_on_the_device(forked):
    """Only counted."""
    refused = forked.run("experiments.bench", "device", "--chip-programs", "sweeps")
    assert_usage_error(refused, "--chip-programs", "sweeps")


def test_unknown_parts_are_refused_with_those_that_exist(forked):
    assert_usage_error(forked.run("experiments.bench", "magic"), "magic", *PARTS)
