"""`experiments.collapse`: its variants, and the program run as a user runs it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from forked import assert_usage_error, assert_usage_errors
from matplotlib.colors import to_hex

from experiments.cifar.config import Config
from experiments.collapse.options import Collapse
from experiments.collapse.report import draw, markdown
from experiments.collapse.results import Results
from experiments.collapse.training import variant_config
from experiments.collapse.variants import TRAININGS, VARIANTS, Variant
from experiments.process.errors import OutputError, UsageError

SMALL = ("--data", "digits", "--images", "128", "--width", "2", "--blocks", "1", "--epochs", "1", "--seeds", "2")


def test_every_variant_can_be_trained():
    """Its settings are those of `experiments.cifar`, its layers can be made, and its reference is exact."""
    assert {variant.training for variant in VARIANTS.values()} == TRAININGS.keys()
    for name, variant in VARIANTS.items():
        config = variant_config(name, Collapse(data="digits"))
        config.check()
        layer = TRAININGS[variant.training].layers(config).hidden(10)
        variables = layer.init(jax.random.key(0), jnp.ones((1, 3)), deterministic=True)
        assert layer.apply(variables, jnp.ones((1, 3)), deterministic=True).shape == (1, 10)
        reference = VARIANTS[variant.reference]
        assert TRAININGS[reference.training].layers(config).exact and reference.batch_size == variant.batch_size


def test_variants_differ_from_the_paper_s_setting_by_their_ingredient():
    """The learning rate follows the batch size; a batch of the usual size has the usual rate, to the bit."""
    assert variant_config("paper", Collapse()).lrs == Config.lrs
    assert variant_config("paper", Collapse()).batch_size == Config.batch_size == Variant("").batch_size
    alone = variant_config("oracle, batch 1", Collapse())
    assert alone.batch_size == 1 and alone.lrs == (Config.lrs[0] / 64,)
    assert variant_config("K 10", Collapse()).num_bits == 10 != Config.num_bits


def test_collapse_compares_variants(forked, tmp_path):
    """Table, figure and record hold what was asked for, and a later call adds to them; other settings are refused."""
    out = ("--out", str(tmp_path / "collapse"))
    for variant in ("oracle", "exact"):
        process = forked.run("experiments.collapse", *SMALL, *out, "--variants", variant)
        assert process.returncode == 0, process.stderr
    record = json.loads((tmp_path / "collapse" / "collapse.json").read_text())
    assert list(record["runs"]) == ["exact", "oracle"]
    assert [row["seed"] for row in record["runs"]["oracle"]["rows"]] == [0, 1]
    assert all(row["diagnostics"]["hidden"]["recall"] > 0.99 for row in record["runs"]["oracle"]["rows"])
    table = (tmp_path / "collapse" / "collapse.md").read_text()
    lines = [line.split(" | ") for line in table.splitlines() if line.startswith("| active set | oracle")]
    accuracy, difference = (float(cell.split(" ±")[0]) for cell in lines[0][2:4])
    means = {name: np.mean([row["test_accuracy"] for row in run["rows"]]) for name, run in record["runs"].items()}
    assert accuracy == pytest.approx(100 * means["oracle"], abs=0.06)
    assert difference == pytest.approx(100 * (means["oracle"] - means["exact"]), abs=0.06)
    assert (tmp_path / "collapse" / "collapse.png").read_bytes().startswith(b"\x89PNG")
    process = forked.run("experiments.collapse", *SMALL[:-2], "--seeds", "3", *out, "--variants", "exact")
    assert_usage_error(process, "--out")
    assert json.loads((tmp_path / "collapse" / "collapse.json").read_text()) == record


def test_bad_flags(forked, tmp_path):
    bad = (("--variants", "magic"), ("--images", "0"), ("--seeds", "0"), ("--out", "/proc/nowhere"))
    assert_usage_errors(forked, tmp_path, *(("experiments.collapse", *flags, "--data", "digits") for flags in bad))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"settings": {}}'])
def test_damaged_results_are_refused_and_kept(tmp_path, damage):
    (tmp_path / "collapse.json").write_text(damage)
    with pytest.raises(UsageError, match=r"^--out must hold no damaged"):
        Results(tmp_path, {})
    assert (tmp_path / "collapse.json").read_text() == damage


def row(seed, accuracy, recall=None):
    diagnostics = {} if recall is None else {"hidden": {"recall": recall}}
    hashed = None if recall is None else accuracy
    return {"seed": seed, "test_accuracy": accuracy, "test_accuracy_hashed": hashed, "diagnostics": diagnostics}


SETTINGS = {"data": "digits", "images": 1, "blocks": [1], "width": 1, "epochs": 1, "seeds": 2}


def fill(results, names):
    """Two seeds of each variant."""
    for name in names:
        recall = None if name.startswith("exact") else 0.1
        results.add(name, [row(0, 0.5, recall), row(1, 0.6, recall)])


def test_without_names_only_what_is_lacking_is_trained(forked, tmp_path):
    """So that a call which was interrupted goes on when it is made once more."""
    record = tmp_path / "collapse.json"
    results = Results(tmp_path, {**SETTINGS, "images": 128, "width": 2, "seed": 0})
    fill(results, [name for name in VARIANTS if name != "oracle"])
    before = json.loads(record.read_text())["runs"]
    process = forked.run("experiments.collapse", *SMALL, "--out", str(tmp_path))
    assert process.returncode == 0, process.stderr
    after = json.loads(record.read_text())["runs"]
    assert list(after) == list(VARIANTS) and len(after["oracle"].pop("rows")) == 2
    assert {name: after[name] for name in before} == before
    complete = record.read_bytes()
    for report in ("collapse.md", "collapse.png"):
        (tmp_path / report).unlink()
    process = forked.run("experiments.collapse", *SMALL, "--out", str(tmp_path))
    assert process.returncode == 0 and "has all variants" in process.stdout, process.stderr
    assert record.read_bytes() == complete
    assert (tmp_path / "collapse.md").read_text().count("\n| ") == 1 + len(VARIANTS)
    assert (tmp_path / "collapse.png").exists()


def test_results_that_can_t_be_written_leave_the_old_ones(tmp_path, monkeypatch):
    results = Results(tmp_path, SETTINGS)
    results.add("exact", [row(0, 0.5)])
    before = (tmp_path / "collapse.json").read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        results.add("paper", [row(0, 0.5, 0.1)])
    assert (tmp_path / "collapse.json").read_bytes() == before
    assert Results(tmp_path, SETTINGS).names == ["exact"]


def test_figure_has_the_methods_colours(tmp_path):
    """Variants that are methods elsewhere look like them; those of batch 1 are hollow, beside the same in full."""
    results = Results(tmp_path, SETTINGS)
    fill(results, VARIANTS)
    points = {bar.get_label(): bar.lines[0] for bar in draw(results).axes[0].containers}
    assert points.keys() == {name for name in VARIANTS if not name.startswith("exact")}
    colors = {name: to_hex(point.get_color()) for name, point in points.items()}
    assert colors["paper"] == colors["paper, batch 1"] == to_hex("C3")  # alsh
    assert points["paper"].get_markerfacecolor() != "white" == points["paper, batch 1"].get_markerfacecolor()
    full = [(colors[name], points[name].get_marker()) for name in points if not name.endswith("batch 1")]
    assert len(set(full)) == len(full)
    assert markdown(results).count("\n| ") == 1 + len(VARIANTS)
