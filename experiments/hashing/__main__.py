"""Appendix B in numbers: can hashing find the active nodes of a convolution?

    python -m experiments.hashing --data cifar10 --width 16 --epochs 1

(a) Which fraction of a node's weights is not masked. (b) The masked weight vectors of the first convolution's nodes
hashed, and queried with whole images. (c) A hash family for each node. (d) What weight sharing allows: every filter
hashed once, and queried with the patches. Real images; filters as initialised and trained.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.figure import Figure

from experiments.cifar.config import Config
from experiments.cifar.learner import cnn_learner, make_model
from experiments.cifar.methods import METHODS
from experiments.data import load
from experiments.data.augment import to_float
from experiments.data.dataset import Dataset
from experiments.hashing import measurements as appendix_b
from experiments.process.environment import environment
from experiments.process.exits import output_directory, run
from experiments.runs.statistics import interval
from experiments.training.compilation import jit
from experiments.training.loop import make_train
from experiments.training.options import check_at_least, check_share
from jaxapprox.lsh import collision_probability


@dataclasses.dataclass(frozen=True)
class Hashing:
    """Measures what Appendix B argues: hashing the nodes of convolutions."""

    data: Literal["digits", "mnist", "cifar10"] = "cifar10"
    data_dir: Path | None = None
    """Where TFDS keeps prepared data (default: TFDS_DATA_DIR, else TFDS's own)."""
    width: int = 16
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each stage."""
    epochs: int = 1
    """Of exact training, for the trained filters."""
    images: int = 64
    """Test images to query with."""
    active: float = 0.25
    """Share of a convolution's filters that are active at a position, in (d); (b) has the paper's 5 % of the nodes."""
    draws: int = 20
    """Sets of hash functions."""
    seed: int = 0
    out: Path = Path("hashing")
    """Directory for hashing.json, hashing.md and hashing.png."""


def main(hashing: Hashing) -> None:
    """Runs all four parts and writes the results.

    Raises:
        UsageError: if a value is out of its range, or `--out` can't be written.
    """
    check_at_least(1, hashing, "images", "draws")
    check_share(hashing, "active")
    config = Config(
        data=hashing.data, width=hashing.width, blocks=hashing.blocks, epochs=hashing.epochs, seed=hashing.seed
    )
    config.check()
    with output_directory(hashing.out):
        (hashing.out / "hashing.json").touch()
    data = load(hashing.data, hashing.data_dir)
    images = to_float(data.test.images[: hashing.images])
    keys = jax.random.split(jax.random.key(hashing.seed), hashing.draws)
    settings = {**dataclasses.asdict(hashing), "network": config.network, "data_dir": "", "out": ""}
    record: dict[str, Any] = {**environment(), "settings": settings}
    record["unmasked"] = appendix_b.unmasked_fraction(3, images.shape[1])
    for filters, layers in _networks(config, data, images):
        chosen = (layers[0], layers[1], layers[-1])
        record[filters] = {
            "masked": appendix_b.masked_nodes(keys, layers[0]),
            "shared": [row for layer in chosen for row in appendix_b.shared_filters(keys, layer, hashing.active)],
        }
    record["family_per_node"] = appendix_b.family_per_node(keys[0], layers)
    (hashing.out / "hashing.json").write_text(json.dumps(record, indent=1) + "\n")
    (hashing.out / "hashing.md").write_text(_table(record))
    _plot(record, hashing.out / "hashing.png")
    print(_table(record))


def _networks(config: Config, data: Dataset, images: jax.Array) -> Iterator[tuple[str, list[appendix_b.ConvLayer]]]:
    """The convolutions of the network as initialised, and trained."""
    method = METHODS["exact"](config)
    model = make_model(config, method, data)
    train = make_train(config, cnn_learner(config, method, data), data)
    state = jit(train.init)(jax.random.key(config.seed))

    def layers():
        return appendix_b.conv_layers(model, {"params": state.params, "batch_stats": state.batch_stats}, images)

    yield "untrained", layers()
    epoch = jit(train.epoch)
    for rounds in train.rounds:
        state, _ = epoch(state, data.train, rounds)
    yield "trained", layers()


def _table(record: dict[str, Any]) -> str:
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
        "| | filters | layer | hash | active | recall | active that collide | theory | all that collide | theory"
        " | FLOPs / exact | time / exact |",
        "|---" * 12 + "|",
    ]
    for filters in ("untrained", "trained"):
        masked = record[filters]["masked"]
        rows = [("b", {"layer": "stem", "setting": "the paper's", **masked})]
        rows += [("d", row) for row in record[filters]["shared"]]
        for part, row in rows:
            names = ("recall", "active_collide", "active_expected", "all_collide", "all_expected")
            shares = (interval([100 * value for value in row[name]]) for name in names)
            cost = (f"{row[name]:.2f}" if name in row else "" for name in ("flops_ratio", "time_ratio"))
            what = (f"({part})", filters, row["layer"], row["setting"], f"{100 * row['chance']:.1f}")
            lines.append(f"| {' | '.join((*what, *shares, *cost))} |")
    return "\n".join([*lines, ""])


def _plot(record: dict[str, Any], path: Path) -> None:
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
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    run(lambda: main(tyro.cli(Hashing, prog="python -m experiments.hashing")))
