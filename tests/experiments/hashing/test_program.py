"""`experiments.hashing`, run as a user runs it."""

import json

from forked import ROOT, assert_usage_errors
from matplotlib.patches import Rectangle

from experiments.hashing.report import draw, markdown


def test_hashing_measures_appendix_b(forked, tmp_path):
    """Recall, theory and costs of every part, on a small network."""
    small = ("--data", "digits", "--width", "2", "--blocks", "1", "--epochs", "1", "--images", "4", "--draws", "2")
    process = forked.run("experiments.hashing", *small, "--out", str(tmp_path / "hashing"))
    assert process.returncode == 0, process.stderr
    record = json.loads((tmp_path / "hashing" / "hashing.json").read_text())
    assert record["unmasked"] == 9 / 64
    for filters in ("untrained", "trained"):
        rows = [record[filters]["masked"], *record[filters]["shared"]]
        assert len(rows) == 7
        for row in rows:
            shares = [value for name in ("recall", "active_collide", "all_expected") for value in row[name]]
            assert len(row["recall"]) == 2 and all(0 <= value <= 1 for value in shares)
    assert record["family_per_node"]["all_bytes"] >= record["family_per_node"]["bytes"] > 0
    assert "| (d) | trained |" in (tmp_path / "hashing" / "hashing.md").read_text()
    assert (tmp_path / "hashing" / "hashing.png").read_bytes().startswith(b"\x89PNG")


def test_recorded_results_are_reported():
    """The table has a line for each measurement, and the figure a bar as long as its recall."""
    record = json.loads((ROOT / "experiments" / "results" / "hashing" / "hashing.json").read_text())
    record["settings"]["network"] = "ResNet-18"
    rows = [row for f in ("untrained", "trained") for row in (record[f]["masked"], *record[f]["shared"])]
    assert markdown(record).count("\n| (") == len(rows)
    patches = (patch for axes in draw(record).axes for patch in axes.patches if isinstance(patch, Rectangle))
    bars = {round(bar.get_y() + bar.get_height() / 2): bar for bar in patches}
    for place, row in enumerate(rows):
        assert abs(bars[place].get_width() - 100 * sum(row["recall"]) / len(row["recall"])) < 1e-6


def test_bad_flags(forked, tmp_path):
    bad = (("--draws", "0"), ("--active", "2"), ("--blocks", "0"), ("--out", "/proc/nowhere"))
    assert_usage_errors(forked, tmp_path, *(("experiments.hashing", *flags, "--data", "digits") for flags in bad))
