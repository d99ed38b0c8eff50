"""How the error of an estimated forward pass compounds with depth, measured and predicted.

    python -m experiments.error_by_depth --width 1000 --layers 10

The paper's reason why approximating the forward pass does not scale: every layer works on what the estimates before it
left. Random ReLU networks, as initialised by He's rule, with normal inputs; each example draws its own sample. The
prediction (`experiments.depth_theory`) is for wide layers and knows nothing of the networks measured.
"""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.error_by_depth import theory as depth_theory
from experiments.process.checks import check_at_least, check_share
from experiments.process.command_line import read_options
from experiments.process.environment import environment
from experiments.process.errors import UsageError
from experiments.process.exits import make_output_directory, run
from experiments.process.files import save_figure, write_json, write_whole
from experiments.process.markdown import table
from experiments.training.compilation import jit
from jaxapprox import mc_dense, systematic, topk
from jaxapprox.lsh import active_dense, active_set, build

_LARGEST = 1e15  # |h^| / |h| whose square float32 holds, as it does its inverse


@dataclasses.dataclass(frozen=True)
class ErrorByDepth:
    """Measures how the error of an estimated forward pass compounds with depth, against a prediction."""

    width: int = 1000
    """Of the inputs and of every layer."""
    layers: int = 10
    """Hidden layers."""
    ratios: tuple[float, ...] = (0.1, 0.5)
    """Shares of the inputs that sampled products keep."""
    active: float = 0.05
    """Share of a layer's units that hashing, the oracle and random choice activate."""
    networks: int = 3
    examples: int = 16
    """Inputs to each network."""
    draws: int = 8
    """Estimates for each input; hash functions are drawn anew for each."""
    seed: int = 0
    out: Path = Path("error_by_depth")
    """Directory for error_by_depth.json, error_by_depth.md and error_by_depth.png."""

    def check(self) -> None:
        """Raises a UsageError naming a flag, its value and what it must be, unless all is well."""
        check_at_least(16, self, "width")  # in narrower layers all units may be 0
        check_at_least(1, self, "layers", "networks", "examples", "draws")
        check_at_least(0, self, "seed")
        check_share(self, "active")
        if not self.ratios or len(set(self.ratios)) < len(self.ratios) or not all(0 < r <= 1 for r in self.ratios):
            got = " ".join(map(str, self.ratios)) or "none"
            raise UsageError(f"--ratios must be one or more different numbers in (0, 1], got {got}")


# An estimated layer: a key, what the layer before left (examples, width) and the kernel (width, width) to activations.
Layer = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Method(NamedTuple):
    """How a layer is estimated, and what theory says of it."""

    layer: Layer
    prediction: depth_theory.Prediction


def main(options: ErrorByDepth) -> None:
    """Measures all methods and writes the results.

    Raises:
        UsageError: if a value is out of its range, or `--out` can't be written.
    """
    options.check()
    known = methods(options)
    for name, method in known.items():
        if not 1 / _LARGEST < method.prediction.size[-1] < _LARGEST:
            raise UsageError(f"--layers must be fewer, got {options.layers}: {name} would leave the range of float32")
    make_output_directory(options.out)
    measured = measure({name: method.layer for name, method in known.items()}, options)
    results = {
        name: {
            "measured": {quantity: _spread(values) for quantity, values in measured[name].items()},
            "predicted": {quantity: getattr(method.prediction, quantity) for quantity in _QUANTITIES},
        }
        for name, method in known.items()
    }
    record = {**environment(), "settings": {**dataclasses.asdict(options), "out": ""}, "results": results}
    write_json(options.out / "error_by_depth.json", record)
    write_whole(options.out / "error_by_depth.md", _table(record))
    _plot(record, options.out / "error_by_depth.png")
    print(_table(record))


def methods(options: ErrorByDepth) -> dict[str, Method]:
    """All methods by name: MC at each ratio, then those that activate a share of the units."""
    width, layers = options.width, options.layers
    known = {}
    for ratio in options.ratios:
        share = _size(ratio, width) / width
        for sampler, make_rule in ((systematic, depth_theory.unbiased), (topk, depth_theory.largest)):
            prediction = depth_theory.predict(make_rule(share), layers, of_outputs=False)
            known[f"mc {sampler.__name__}, ratio {ratio}"] = Method(_sampled(ratio, sampler), prediction)
    size = _size(options.active, width)
    rules = {
        "alsh": (_hashed_units, depth_theory.hashed(size / width, width)),
        "oracle": (_largest_units, depth_theory.largest(size / width)),
        "random": (_random_units, depth_theory.random(size / width)),
    }
    for name, (choose, rule) in rules.items():
        prediction = depth_theory.predict(rule, layers, of_outputs=True)
        known[f"{name}, active {options.active}"] = Method(_active(size, choose), prediction)
    return known


def _size(share: float, width: int) -> int:
    return max(1, round(share * width))


def _sampled(ratio: float, sampler: Any) -> Layer:
    """The product of each example with its own sample of the inputs."""

    def layer(key, x, kernel):
        def one(key, x):
            return mc_dense(key, x[None], kernel, ratio=ratio, sampler=sampler, mode="forward")[0]

        return jax.nn.relu(jax.vmap(one)(jax.random.split(key, len(x)), x))

    return layer


def _active(size: int, choose: Callable[..., jax.Array]) -> Layer:
    """The exact product at the units chosen, 0 at the others; `choose` gives their ids `(examples, size)`."""

    def layer(key, x, kernel):
        ids = choose(key, x, kernel, size)
        return jax.nn.relu(active_dense(x, kernel, None, ids, form="masked"))

    return layer


def _hashed_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    build_key, select_key = jax.random.split(key)
    tables = build(
        build_key,
        kernel.T,
        num_tables=depth_theory.TABLES,
        num_bits=depth_theory.BITS,
        num_powers=depth_theory.POWERS,
        max_norm=depth_theory.MAX_NORM,
    )
    return active_set(select_key, tables, x, size=size, select="union")


def _largest_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    return lax.top_k(x @ kernel, size)[1]


def _random_units(key: jax.Array, x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    return lax.top_k(jax.random.uniform(key, (len(x), kernel.shape[1])), size)[1]


def measure(layers: dict[str, Layer], options: ErrorByDepth) -> dict[str, dict[str, np.ndarray]]:
    """The relative error and the cosine after each layer, of each method: `(networks, layers)` each."""
    measured: dict[str, dict[str, list[jax.Array]]] = {name: {q: [] for q in _QUANTITIES} for name in layers}
    compiled = {name: jit(_compare(layer, options.draws)) for name, layer in layers.items()}
    make = jit(lambda key: make_network(key, options.width, options.layers, options.examples))
    for key in jax.random.split(jax.random.key(options.seed), options.networks):
        network_key, *draw_keys = jax.random.split(key, 1 + len(layers))
        x, kernels, exact = make(network_key)
        for draw_key, (name, compare) in zip(draw_keys, compiled.items(), strict=True):
            for quantity, values in compare(draw_key, x, kernels, exact).items():
                measured[name][quantity].append(values)
    return {name: {q: np.asarray(values, np.float64) for q, values in of.items()} for name, of in measured.items()}


def make_network(key: jax.Array, width: int, layers: int, examples: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normal inputs `(examples, width)`, He-initialised kernels `(layers, width, width)`, and the exact activations.

    These are `(layers, examples, width)`.
    """
    input_key, kernel_key = jax.random.split(key)
    x = jax.random.normal(input_key, (examples, width))
    kernels = jax.random.normal(kernel_key, (layers, width, width)) * (2 / width) ** 0.5

    def step(h, kernel):
        h = jax.nn.relu(h @ kernel)
        return h, h

    return x, kernels, lax.scan(step, x, kernels)[1]


def _compare(layer: Layer, draws: int) -> Callable[..., dict[str, jax.Array]]:
    """Runs a network with every layer estimated, `draws` times, beside the exact activations."""

    def one(key, x, kernels, exact):
        def step(h_hat, now):
            key, kernel, h = now
            h_hat = layer(key, h_hat, kernel)
            lengths = jnp.linalg.norm(h, axis=1) * jnp.linalg.norm(h_hat, axis=1)
            cosine = jnp.sum(h * h_hat, 1) / jnp.where(lengths > 0, lengths, 1)
            return h_hat, (jnp.mean(jnp.sum(jnp.square(h_hat - h), 1)), jnp.mean(cosine))

        return lax.scan(step, x, (jax.random.split(key, len(kernels)), kernels, exact))[1]

    def compare(key, x, kernels, exact):
        # One draw after another: a sampled product gathers a kernel for each example.
        keys = jax.random.split(key, draws)
        squares, cosines = lax.map(lambda key: one(key, x, kernels, exact), keys)
        square = jnp.mean(jnp.sum(jnp.square(exact), 2), 1)
        return {"error": jnp.sqrt(jnp.mean(squares, 0) / square), "cosine": jnp.mean(cosines, 0)}

    return compare


def _spread(values: np.ndarray) -> dict[str, Any]:
    """Mean and standard deviation over networks, of `(networks, layers)`; no deviation of a single network."""
    columns = values.T.tolist()
    deviation = [statistics.stdev(column) for column in columns] if len(values) > 1 else None
    return {"mean": [statistics.mean(column) for column in columns], "std": deviation}


def _table(record: dict[str, Any]) -> str:
    settings = record["settings"]
    lines = [
        "# The error of an estimated forward pass, by depth",
        "",
        f"ReLU networks of width {settings['width']} as initialised by He's rule, normal inputs; mean ± standard"
        f" deviation over {settings['networks']} network(s), of {settings['examples']} examples and"
        f" {settings['draws']} draws each. Predicted: in the limit of wide layers.",
    ]
    for quantity, title in _QUANTITIES.items():
        rows: list[list[str]] = []
        for name, result in record["results"].items():
            measured = result["measured"][quantity]
            cells = [f"{value:.3g}" for value in measured["mean"]]
            if measured["std"] is not None:
                deviations = (f"{float(f'{value:.1g}'):g}" for value in measured["std"])  # 1e+01 as 10
                cells = [f"{cell} ± {deviation}" for cell, deviation in zip(cells, deviations, strict=True)]
            predicted = (f"{value:.3g}" for value in result["predicted"][quantity])
            rows += [[name, "measured", *cells], ["", "predicted", *predicted]]
        header = ("method", "", *(f"layer {layer + 1}" for layer in range(settings["layers"])))
        lines += ["", f"## {title}", "", *table(header, rows)]
    return "\n".join([*lines, ""])


def _plot(record: dict[str, Any], path: Path) -> None:
    """Measured as markers with error bars over networks, predicted as lines."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    layers = range(1, record["settings"]["layers"] + 1)
    for axes, (quantity, title) in zip(panels, _QUANTITIES.items(), strict=True):
        for number, (name, result) in enumerate(record["results"].items()):
            measured, color = result["measured"][quantity], f"C{number}"
            mark = "osD^vPX"[number % 7]
            axes.errorbar(layers, measured["mean"], measured["std"], fmt=mark, color=color, capsize=2, label=name)
            axes.plot(layers, result["predicted"][quantity], color=color)
        axes.set(xlabel="hidden layers", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[1].set_ylim(0, 1)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", title="lines: predicted")
    save_figure(path, figure)


_QUANTITIES = {"error": "relative error of the activations", "cosine": "cosine with the exact activations"}


if __name__ == "__main__":
    run(lambda: main(read_options("experiments.error_by_depth", ErrorByDepth)))
