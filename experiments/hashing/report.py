"""What hashing convolutions comes to: hashing.md and hashing.png."""

import statistics
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.process.markdown import table
from experiments.runs.statistics import interval
from jaxapprox.lsh import collision_probability

_COLUMNS = (
    *("", "filters", "layer", "hash", "active", "recall", "active that collide", "theory", "all that collide"),
    *("theory", "FLOPs / exact", "time / exact"),
)


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
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-1, 1, len(record["trained"]["masked"]["cosines"]) + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    kinds = {"(b) masked node, whole image": record["trained"]["masked"]}
    kinds |= {f"(d) {row['layer']}, patch": row for row in record["trained"]["shared"][::2]}
    for label, row in kinds.items():
        left.fill_between(centers, row["cosines"], step="mid", alpha=0.4, label=label)
    left.set(xlabel="cosine of P(w) and Q(x), truly active nodes", ylabel="density", xlim=(-0.3, 1))
    probability = left.twinx()
    probability.plot(centers, collision_probability(jnp.asarray(centers), 6, 5), "k", label="P(some table), K 6, L 5")
    probability.set(ylabel="collision probability", ylim=(0, 1))
    left.legend(loc="upper left", fontsize=7)
    probability.legend(loc="lower right", fontsize=7)
    labels, bars, chances = [], [], []
    for filters in ("untrained", "trained"):
        masked = {"layer": "(b) whole image", "setting": "", **record[filters]["masked"]}
        for row in (masked, *record[filters]["shared"]):
            labels.append(f"{row['layer']} {row['setting']} ({filters})")
            bars.append(100 * statistics.mean(row["recall"]))
            chances.append(100 * row["chance"])
    places = np.arange(len(labels))[::-1]
    right.barh(places, bars)
    right.scatter(chances, places, color="k", marker="|", label="chance")
    right.set_yticks(places, labels, fontsize=6)
    right.set(xlabel="recall of the truly active (%)", xlim=(0, 100))
    right.legend()
    return figure
