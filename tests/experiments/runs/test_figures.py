"""Figures: styles of methods, logarithmic axes, and where legends are."""

import dataclasses
import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from experiments.mlp import figures
from experiments.mlp.config import MLPConfig
from experiments.runs import plots
from experiments.runs.plots import label_log_axis
from experiments.runs.styles import THROUGH_HASH, method_color, method_styles
from experiments.training.rows import ImageRow

ROW = ImageRow.of(
    method="mc",
    seed=0,
    epoch=1,
    train_loss=1.0,
    test_accuracy=0.5,
    diagnostics={},
    train_seconds=2.0,
    recalibrate_seconds=0.0,
    step_seconds=0.1,
    compile_seconds=1.0,
)


def rows_of(*methods):
    rows = [dataclasses.replace(ROW, method=m, seed=s, epoch=e) for m in methods for s in (0, 1) for e in (1, 2)]
    return [
        dataclasses.replace(row, train_seconds=row.epoch * (1 + number), test_accuracy_hashed=hashed)
        for number, row in enumerate(rows)
        for hashed in [0.3 if row.method == "alsh" else None]
    ]


def test_a_method_has_its_colour_whatever_else_is_drawn():
    """Methods that a user registers, too."""
    for method in ("standard", "exact", "mc", "alsh", "dropout", "own"):
        alone, among = method_styles([method]), method_styles(["adaptive_dropout", method, "mc_backward"])
        assert to_hex(alone[method].color) == to_hex(among[method].color) == to_hex(method_color(method))
    assert method_color("standard") == method_color("exact") != method_color("mc")


def test_methods_differ_in_colour():
    methods = [name for name in MLPConfig.methods if not name.endswith("_gathered")]
    styles = method_styles([*methods, "mc_backward", "oracle", "random"])
    assert len({style.color for style in styles.values()}) == len(styles)


def test_through_the_hash_is_the_same_but_dashed():
    styles = method_styles(["alsh", "mc", f"alsh{THROUGH_HASH}"])
    exact, hashed = styles["alsh"], styles[f"alsh{THROUGH_HASH}"]
    assert exact._replace(linestyle="--") == hashed and exact.linestyle == "-"


def test_settings_are_shades_of_their_method():
    """From dark to pale, each with a marker of its own; other methods keep their colour."""
    names = ["exact", "mc ratio 0.5", "mc ratio 0.25", "mc ratio 0.1", "dropout", "dropout_gathered"]
    styles = method_styles(names)
    brightness = [sum(to_rgb(styles[name].color)) for name in names[1:4]]
    assert brightness == sorted(set(brightness)) and styles["exact"].color == to_hex(method_color("exact"))
    assert len({style.marker for style in styles.values()}) == len(names)
    red, green, blue = to_rgb(styles["dropout_gathered"].color)
    assert green > max(red, blue)  # as dropout is


@pytest.mark.parametrize(
    ("low", "high"), [(1.2, 30), (3, 120), (0.9, 1.1), (11, 14), (1, 5), (0.01, 5000), (1e-3, 1e6), (0.2, 600)]
)
def test_labels_of_logarithmic_axes_do_not_overlap(low, high):
    """There are at least two, without powers of ten, and each ends before the next one begins."""
    figure = Figure(figsize=(13, 4), layout="constrained", dpi=150)
    axes = figure.subplots(1, 3)[0]
    axes.plot([low, high], [0, 1])
    axes.set_xscale("log")
    label_log_axis(axes.xaxis)
    FigureCanvasAgg(figure).draw()
    first, last = axes.get_xlim()
    places = {label.get_position()[0]: label for label in axes.get_xticklabels(which="both") if label.get_text()}
    inside = [places[place] for place in sorted(places) if first <= place <= last]
    assert len(inside) >= 2 and all("^" not in label.get_text() for label in inside)
    boxes = [label.get_window_extent() for label in inside]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of files."""
    kept = []
    for module in (plots, figures):
        monkeypatch.setattr(module, "save_figure", lambda path, figure: kept.append(figure))
    return kept


def test_legends_lie_beside_the_panels(drawn, tmp_path):
    """Each names every method once, and covers no panel."""
    rows = rows_of("standard", "alsh", "mc")
    plots.plot_accuracy(rows, tmp_path)
    plots.plot_time(rows, tmp_path)
    figures.plot_figure(rows, "MLP", tmp_path)
    figures.plot_depth({1: rows, 3: rows}, tmp_path)
    assert len(drawn) == 4
    for figure, hashed in zip(drawn, (0, 0, 1, 1), strict=True):
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts == ["standard", "alsh", "mc", *[f"alsh{THROUGH_HASH}"] * hashed]
        assert all(axes.get_legend() is None for axes in figure.axes)
        assert all(axes.get_window_extent().x1 < legend.get_window_extent().x0 for axes in figure.axes)


def test_a_method_looks_the_same_in_every_panel(drawn, tmp_path):
    figures.plot_figure(rows_of("alsh", "standard"), "MLP", tmp_path)
    (figure,) = drawn
    for label in ("alsh", "standard"):
        lines = [line for axes in figure.axes for line in axes.lines if line.get_label() == label]
        assert len(lines) == 2 and len({line.get_color() for line in lines}) == 1
        assert to_hex(lines[0].get_color()) == to_hex(method_color(label))
