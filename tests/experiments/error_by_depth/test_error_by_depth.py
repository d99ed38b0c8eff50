"""The error of an estimated forward pass: the theory on its own, against the library, and the program."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from forked import assert_usage_error
from scipy import stats

from experiments.error_by_depth import theory
from experiments.error_by_depth.__main__ import main
from experiments.error_by_depth.layers import estimated_layers
from experiments.error_by_depth.measure import measure_layers
from experiments.error_by_depth.options import ErrorByDepth
from experiments.process.errors import UsageError
from jaxapprox import predicted_variance, systematic
from jaxapprox.lsh import active_set, build


def errors(rule, layers=10, of_outputs=False):
    return np.array(theory.predict(rule, layers, of_outputs=of_outputs).error)


def relu_error(cosine, size):
    """sqrt(E (relu(z^) - relu(z))^2 / E relu(z)^2) for normal z, z^, by the arc-cosine kernel; size^2 = q^ / q."""
    kernel = (math.sqrt(1 - cosine**2) + (math.pi - math.acos(cosine)) * cosine) / math.pi
    return math.sqrt(1 - 2 * kernel * size + size**2)


@pytest.mark.parametrize(
    ("rule", "of_outputs"),
    [
        (theory.keep_unbiased(1), False),
        (theory.keep_largest(1), False),
        (theory.keep_largest(1), True),
        (theory.keep_random(1), True),
        (theory.keep_hashed(1, 100), True),
    ],
)
def test_keeping_everything_is_exact(rule, of_outputs):
    prediction = theory.predict(rule, 5, of_outputs=of_outputs)
    np.testing.assert_allclose(prediction.error, 0, atol=1e-6)
    np.testing.assert_allclose([prediction.cosine, prediction.size], 1, atol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_first_layer_in_closed_form(share):
    """Of units kept at random, of the largest units, and of a product with the largest inputs."""
    assert errors(theory.keep_random(share), 1, True)[0] == pytest.approx(math.sqrt(1 - share), rel=1e-4)
    # E[z^2; z > t] = P(z > t) + t phi(t) is what the largest units keep of E relu(z)^2 = 1 / 2.
    threshold = stats.norm.isf(share)
    kept = 2 * (share + threshold * stats.norm.pdf(threshold))
    assert errors(theory.keep_largest(share), 1, True)[0] == pytest.approx(math.sqrt(1 - kept), rel=1e-4)
    threshold = stats.norm.isf(share / 2)
    kept = share + 2 * threshold * stats.norm.pdf(threshold)
    expected = relu_error(math.sqrt(kept), math.sqrt(kept))
    assert errors(theory.keep_largest(share), 1)[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_unbiased_growth_in_closed_form(share):
    """|h^|^2 grows by 2 E relu(s)^2 / pi a layer, and by E x^2 / pi at the inputs, of which no half is zero."""
    s = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    growth = []
    for x, moment in ((s, 1), (np.maximum(s, 0), 0.5)):
        pi = oracles.inclusion_probabilities(np.abs(x), round(share * len(s)), 0.1)
        growth.append(np.mean(x**2 / pi) / moment)
    expected = growth[0] * growth[1] ** np.arange(5)
    prediction = theory.predict(theory.keep_unbiased(share), 5, of_outputs=False)
    np.testing.assert_allclose(np.square(prediction.size), expected, rtol=2e-3)
    assert prediction.error[0] == pytest.approx(relu_error(growth[0] ** -0.5, growth[0] ** 0.5), rel=2e-3)


def test_small_shares_compound_and_halves_do_not():
    """A tenth of the inputs or units: worse with every layer. Half the inputs hold nearly all that ReLU leaves."""
    for rule, of_outputs in (
        (theory.keep_unbiased(0.1), False),
        (theory.keep_largest(0.1), False),
        (theory.keep_largest(0.1), True),
        (theory.keep_hashed(0.1, 1000), True),
        (theory.keep_random(0.1), True),
    ):
        assert np.all(np.diff(errors(rule, of_outputs=of_outputs)) > 0)
    unbiased = errors(theory.keep_unbiased(0.1))
    assert np.all(unbiased[1:] / unbiased[:-1] > 1.5)  # exponential growth
    for rule in (theory.keep_unbiased(0.5), theory.keep_largest(0.5)):
        assert np.all(np.diff(errors(rule)) < 0)


def test_hashing_is_worth_less_the_wider():
    """The cosines that hashing tells units by shrink as 1 / sqrt(width): it lies between random and the oracle."""
    hashed = [errors(theory.keep_hashed(0.05, width), 1, True)[0] for width in (100, 1_000, 10_000, 10**8)]
    random, oracle = (errors(make(0.05), 1, True)[0] for make in (theory.keep_random, theory.keep_largest))
    assert oracle < hashed[0] < hashed[1] < hashed[2] < hashed[3] == pytest.approx(random, abs=1e-4)


def test_hashed_units_are_those_that_the_library_finds():
    """The pre-activations of active units, in standard deviations: their mean within 10 %, over 4,800 sets."""
    width, size, examples = 256, 13, 32

    @jax.jit
    def mean(key):
        weight_key, input_key, build_key, select_key = jax.random.split(key, 4)
        weights = jax.random.normal(weight_key, (width, width))
        x = jax.random.normal(input_key, (examples, width))
        ids = active_set(select_key, build(build_key, weights), x, size=size)
        s = x @ weights.T / jnp.linalg.norm(x, axis=1)[:, None]
        return jnp.mean(jnp.take_along_axis(s, ids, 1))

    measured = np.mean([mean(key) for key in jax.random.split(jax.random.key(0), 150)])
    s = np.linspace(-8, 8, 2_001)
    mass = stats.norm.pdf(s) * (s[1] - s[0])
    chance = theory.keep_hashed(size / width, width)(s).mean
    assert np.sum(mass * chance) == pytest.approx(size / width, rel=1e-3)
    assert measured == pytest.approx(np.sum(mass * chance * s) / np.sum(mass * chance), rel=0.1)


def test_one_layer_of_unbiased_mc():
    """Measured, predicted, and by `jaxapprox.predicted_variance` of one product: within 3 % of each other."""
    options = ErrorByDepth(width=500, layers=1, ratios=(0.2,), networks=8, draws=4)
    name = "mc systematic, ratio 0.2"
    estimated = estimated_layers(options)[name]
    measured = np.mean(measure_layers({name: estimated.layer}, options)[name]["error"])
    x = jax.random.normal(jax.random.key(1), (16, 500))
    norms = jnp.linalg.norm(jax.random.normal(jax.random.key(2), (500, 500)), axis=1)
    variance = [predicted_variance(systematic, jnp.abs(row) * norms, 100) / jnp.sum((row * norms) ** 2) for row in x]
    size = math.sqrt(1 + np.mean(variance))
    assert estimated.prediction.error[0] == pytest.approx(relu_error(1 / size, size), rel=0.03)
    assert estimated.prediction.error[0] == pytest.approx(measured, rel=0.03)


def test_one_layer_of_alsh():
    """Measured within 0.002 of predicted: random units are 0.019 worse, those with the most collisions 0.004 better."""
    options = ErrorByDepth(width=100, layers=1, active=0.1, networks=10, examples=64)
    name = "alsh, active 0.1"
    estimated = estimated_layers(options)[name]
    measured = np.mean(measure_layers({name: estimated.layer}, options)[name]["error"])
    assert measured == pytest.approx(estimated.prediction.error[0], abs=0.002)


def test_each_example_draws_its_own_sample():
    """Equal examples get different estimates, but from methods that are deterministic."""
    x = jnp.broadcast_to(jax.random.normal(jax.random.key(0), (1, 64)), (2, 64))
    kernel = jax.random.normal(jax.random.key(1), (64, 64))
    for name, estimated in estimated_layers(ErrorByDepth(width=64, ratios=(0.5,), active=0.2)).items():
        first, second = jax.jit(estimated.layer)(jax.random.key(2), x, kernel)
        assert jnp.allclose(first, second, rtol=1e-5) == ("topk" in name or "oracle" in name), name


@pytest.fixture(scope="module")
def finished(forked, tmp_path_factory):
    """A run on small networks, with one ratio at which everything is kept."""
    out = tmp_path_factory.mktemp("depth") / "new"
    size = ("--width", "256", "--layers", "4", "--networks", "3", "--examples", "8", "--draws", "4")
    shares = ("--ratios", "0.1", "0.5", "1", "--active", "0.1")
    return forked.run("experiments.error_by_depth", *size, *shares, "--seed", "2", "--out", str(out)), out


def test_measured_is_as_predicted(finished):
    """Every method at every layer: errors within 8 %, cosines within 0.05; those of exact products are 0 and 1."""
    process, out = finished
    assert process.returncode == 0, process.stderr
    record = json.loads((out / "error_by_depth.json").read_text())
    assert record["settings"]["width"] == 256 and record["versions"]["jax"] and record["device"]
    assert len(record["results"]) == 9
    for name, result in record["results"].items():
        error, cosine = result["measured"]["error"], result["measured"]["cosine"]
        assert len(error["mean"]) == len(error["std"]) == len(result["predicted"]["error"]) == 4
        exact = name.endswith("ratio 1.0")
        tolerance = {"rtol": 0, "atol": 1e-5} if exact else {"rtol": 0.08}
        np.testing.assert_allclose(error["mean"], result["predicted"]["error"], **tolerance, err_msg=name)
        np.testing.assert_allclose(cosine["mean"], result["predicted"]["cosine"], atol=0.05, rtol=0, err_msg=name)
        assert exact or min(error["std"][0], cosine["std"][0]) > 1e-6


def test_table_and_figure_are_of_the_record(finished):
    process, out = finished
    record = json.loads((out / "error_by_depth.json").read_text())
    table = (out / "error_by_depth.md").read_text()
    assert table in process.stdout
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
    rows = [row for row in rows if len(row) > 3 and row[2] in ("measured", "predicted")]
    assert len(rows) == 2 * 2 * 9
    for quantity, measured, predicted in zip(["error"] * 9 + ["cosine"] * 9, rows[::2], rows[1::2], strict=True):
        result = record["results"][measured[1]]
        means = [float(cell.split(" ± ")[0]) for cell in measured[3:-1]]
        np.testing.assert_allclose(means, result["measured"][quantity]["mean"], rtol=0.01)
        np.testing.assert_allclose(np.float64(predicted[3:-1]), result["predicted"][quantity], rtol=0.01)
    assert (out / "error_by_depth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("width", 15),
        ("layers", 0),
        ("layers", 60),  # activations of the hashed leave float32's range
        ("ratios", ()),
        ("ratios", (0.5, 0.0)),
        ("ratios", (0.5, 1.5)),
        ("ratios", (0.5, 0.5)),
        ("ratios", (math.nan,)),
        ("active", 0.0),
        ("networks", 0),
        ("examples", 0),
        ("draws", 0),
        ("seed", -1),
    ],
)
def test_bad_options_are_named(tmp_path, flag, value):
    """Before anything is written."""
    with pytest.raises(UsageError, match=f"^--{flag} must be "):
        main(ErrorByDepth(**{"out": tmp_path / "new", flag: value}))
    assert not (tmp_path / "new").exists()


def test_bad_usage_ends_with_exit_code_2(forked):
    assert_usage_error(forked.run("experiments.error_by_depth", "--ratios", "2"), "--ratios must be")
    assert_usage_error(forked.run("experiments.error_by_depth", "--out", "/proc/nowhere"), "--out must be")
