"""What hashing convolutions comes to: hashing.md and hashing.png."""

import statistics
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure, SubFigure

from experiments.process.markdown import table
from experiments.runs.statistics import interval
from experiments.runs.styles import method_styles
from jaxapprox.lsh import collision_probability

_COLUMNS = (
    *("", "filters", "layer", "hash", "active", "recall", "active that collide", "theory", "all that collide"),
    *("theory", "FLOPs / exact", "time / exact"),
)
_LAYERS = ("teal", "olive", "navy", "darkgoldenrod")  # no method's colours


def markdown(record: dict[str, Any]) -> str:
    """The table, with what was measured."""
    per_node, settings = record["family_per_node"], record["settings"]
    lines = [
        "# Hashing the nodes of convolutions (Appendix B)",
        "",
        f"{settings['data']}, {settings['network']}; trained: {settings['epochs']} epochs;"
        f" {settings['images']} test images; mean ± half the 95 % interval over {settings['draws']} sets of hash"
        " functions.",
        "",
        f"(a) Of a node's weights {record['unmasked']:.2%} are not masked: 3 x 3 of the image's pixels.",
        "",
        f"(c) A hash family for each node: {per_node['nodes']:.0f} nodes of {per_node['all_nodes']:.0f} took"
        f" {per_node['build_seconds']:.2g} s and {per_node['bytes'] / 1e6:.3g} MB to build, and"
        f" {per_node['query_seconds']:.2g} s to query for one image. All, extrapolated:"
        f" {per_node['all_build_seconds']:.3g} s and {per_node['all_bytes'] / 1e6:.4g} MB"
        f" (the kernels: {per_node['kernel_bytes'] / 1e6:.3g} MB), and {per_node['all_query_seconds']:.3g} s for one"
        f" image, where the exact convolutions take {per_node['exact_seconds']:.2g} s.",
        "",
        "(b) whole images against masked nodes, (d) patches against filters. Shares in %; of the truly active, those in"
        " the active set (recall) and those that share any bucket, measured and by theory.",
        "",
    ]
    cells = []
    for filters in ("untrained", "trained"):
        masked = record[filters]["masked"]
        rows = [("b", {"layer": "stem", "setting": "the paper's", **masked})]
        rows += [("d", row) for row in record[filters]["shared"]]
        for part, row in rows:
            names = ("recall", "active_collide", "active_expected", "all_collide", "all_expected")
            shares = (interval([100 * value for value in row[name]]) for name in names)
            cost = (f"{row[name]:.2f}" if name in row else "" for name in ("flops_ratio", "time_ratio"))
            what = (f"({part})", filters, row["layer"], row["setting"], f"{100 * row['chance']:.1f}")
            cells.append((*what, *shares, *cost))
    return "\n".join([*lines, *table(_COLUMNS, cells), ""])


def draw(record: dict[str, Any]) -> Figure:
    """Cosines of the truly active with the query, under the collision probability; recall against chance."""
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    halves: Any = figure.subfigures(1, 2)
    _draw_cosines(halves[0], record)
    _draw_recalls(halves[1], record)
    return figure


def _draw_cosines(figure: SubFigure, record: dict[str, Any]) -> None:
    axes = figure.subplots()
    edges = np.linspace(-1, 1, len(record["trained"]["masked"]["cosines"]) + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    kinds = {"(b) masked node, whole image": record["trained"]["masked"]}
    kinds |= {f"(d) {row['layer']}, patch": row for row in record["trained"]["shared"][::2]}
    for color, (label, row) in zip(_LAYERS, kinds.items(), strict=False):
        axes.stairs(row["cosines"], edges, color=color, alpha=0.3, fill=True)
        axes.stairs(row["cosines"], edges, color=color, linewidth=1.5, label=label)
    axes.set(xlabel="cosine of P(w) and Q(x), truly active nodes of the trained network", ylabel="density")
    axes.set(xlim=(-0.3, 1), ylim=(0, None))
    probability = axes.twinx()
    line = "K 6, L 5: a bucket in common"
    probability.plot(centers, collision_probability(jnp.asarray(centers), 6, 5), "k", label=line)
    probability.set(ylabel="collision probability", ylim=(0, 1))
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)


def _draw_recalls(figure: SubFigure, record: dict[str, Any]) -> None:
    axes = figure.subplots()
    bars: dict[str, list[tuple[int, float]]] = {}
    labels: list[str] = []
    chances: list[float] = []
    for filters in ("untrained", "trained"):
        masked = {"layer": "(b) whole image", "setting": "the paper's", **record[filters]["masked"]}
        for row in (masked, *record[filters]["shared"]):
            bars.setdefault(row["setting"], []).append((len(labels), 100 * statistics.mean(row["recall"])))
            labels.append(f"{row['layer']}, {filters}")
            chances.append(100 * row["chance"])
    colors = [style.color for style in method_styles(f"alsh {setting}" for setting in bars).values()]
    for color, (setting, own) in zip(colors, bars.items(), strict=True):
        axes.barh([place for place, _ in own], [recall for _, recall in own], color=color, label=f"hash: {setting}")
    axes.scatter(chances, range(len(labels)), color="k", marker="|", label="chance")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="recall of the truly active (%)", xlim=(0, 100))
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
