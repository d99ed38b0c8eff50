"""`--compile-for`: whether a run fits chips that are not there, and how many of its seeds do."""

import re

import pytest
from forked import assert_usage_error, assert_usage_errors

from experiments.bench.random_data import random_digits
from experiments.bench.seeds import only_family
from experiments.mlp.config import MLPConfig
from experiments.mlp.learner import mlp_learner
from experiments.seeds.dry_run import dry_run

_GIBIBYTE = 2**30


@pytest.fixture
def dry(capsys):
    """Runs dry, on random digits; returns the exit code and what was printed."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")

    def run(target="tpu:v5e:2x2", **options):
        config = MLPConfig(layers=(1,), methods=("standard",), epochs=1, compile_for=target, **options)
        _, task = only_family(config, mlp_learner, random_digits(64))
        return dry_run(config, task), capsys.readouterr().out.splitlines()

    return run


def test_seeds_over_all_chips(dry):
    """As a run would split them there, whose devices are no CPU's; a step's products are those of a chip's seeds."""
    code, (title, fits, step) = dry(width=256, batch_size=32, seeds=8)
    assert code == 0 and title.endswith(": compiled for v5e:2x2, 4 devices, 14.4 GiB for the program on each")
    assert re.fullmatch(r"standard: 8 seeds at once \(shard over 4 devices\) need [\d.]+ GiB of a device: fits", fits)
    products = 2 * 2 * 32 * (784 * 256 * 2 + 256 * 10 * 3) / 1e9
    assert step.startswith(f"  a step of 2 seeds on a device: {products:.4g} GFLOP of products, ")


def test_as_many_seeds_as_fit(dry):
    """Where all do not, which has the exit code 1: fewer, in even chunks; their memory is that of their numbers."""
    code, (_, fits, step) = dry(width=250_000, optimizer="sgd", seeds=32, seed_axis="vmap")
    found = re.fullmatch(
        r"standard: 32 seeds at once \(vmap\) need ([\d.]+) GiB of a device: does not fit;"
        r" (\d+) seeds at once \(vmap\) do, by ([\d.]+) GiB",
        fits,
    )
    assert code == 1 and found
    parameters = 4 * 250_000 * 795 / _GIBIBYTE
    at_once = int(found[2])
    assert float(found[1]) >= 32 * parameters > 14.4 >= float(found[3]) >= at_once * parameters
    assert 32 % at_once == 0 and f"a step of {at_once} seeds" in step


def test_a_run_that_does_not_fit_says_so_and_writes_nothing(forked, tmp_path):
    """By the exit code too."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    out = tmp_path / "run"
    options = ("--width", "80000", "--layers", "2", "--methods", "standard", "--out", str(out))
    program = forked.run("experiments.mlp", *options, "--seed-axis", "vmap", "--compile-for", "tpu:v5e:2x2")
    assert program.returncode == 1, program.output
    assert re.search(r"standard: 1 seed at once \(vmap\) needs [\d.]+ GiB of a device: does not fit\n$", program.stdout)
    assert not out.exists()


def test_bad_values_are_refused(forked, tmp_path):
    """By every program that trains, before any data is read."""
    programs = ("cifar", "mlp", "words", "characters")
    values = ("v5e:2x2", "tpu:v5e:2x2x2", "tpu:v9:2x2", "cpu")
    commands = [(f"experiments.{name}", "--compile-for", value) for name, value in zip(programs, values, strict=True)]
    assert_usage_errors(forked, tmp_path, *commands)
    refused = forked.run("experiments.bench", "tpu", "--topology", "v9:2x2")
    assert_usage_error(refused, "--topology", "v9:2x2", "v5e:2x2")


@pytest.mark.parametrize("flags", [("--seed-axis", "fastest"), ("--distributed",)])
def test_what_needs_devices_that_are_there_is_refused(forked, flags):
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    assert_usage_error(forked.run("experiments.mlp", "--compile-for", "tpu:v5e:2x2", *flags), "--compile-for", flags[0])
