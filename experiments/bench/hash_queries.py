"""Timings of hash queries: among the units of a large output layer, and by comparing codes against buckets."""

import functools
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.random_data import normal, random_weights
from experiments.process.timing import paired, seconds
from experiments.training.compilation import jit
from jaxapprox.lsh import active_set, build

# An output layer for extreme classification.
LARGE_UNITS, FEATURES, BATCH, LARGE_ACTIVE = 670_000, 128, 128, 0.005


def measure_queries(rounds: int) -> dict[str, Any]:
    """Ratios by the number of units, and the costs of queries among 670,000 units."""
    return {
        "comparison_against_buckets": comparison_against_buckets(5 * rounds),
        "queries": queries(rounds),
    }


def show_queries(results: dict[str, Any], console: Console) -> None:
    """Prints a line for each number of units, and a table of the queries among 670,000 units."""
    for units, ratio in results["comparison_against_buckets"].items():
        console.print(f"comparing codes / collecting buckets, {units} units: {ratio:.2f}", highlight=False)
    table = Table("L", "K", "build s", "build MB", "query ms", "query MB", "exact product ms", box=box.SIMPLE_HEAD)
    table.title = "670,000 units x 128 features, 0.5 % active, batch 128: milliseconds an example"
    for q in results["queries"]:
        sizes = (f"{q['build_seconds']:.2f}", f"{q['build_megabytes']:.0f}")
        query = (f"{1e3 * q['query_seconds']:.2f}", f"{q['query_megabytes']:.0f}", f"{1e3 * q['product_seconds']:.2f}")
        table.add_row(str(q["num_tables"]), str(q["num_bits"]), *sizes, *query)
    console.print(table)


def queries(rounds: int) -> list[dict[str, float]]:
    """Times queries among 670,000 units of 128 features, by K and L, and the exact product, in seconds an example."""
    x, weights = normal((BATCH, FEATURES), 0), random_weights(LARGE_UNITS, FEATURES)
    size, key = round(LARGE_ACTIVE * LARGE_UNITS), jax.random.key(3)
    product = jit(lambda x, weights: x @ weights.T)
    results = []
    for num_tables, num_bits in ((5, 6), (50, 6), (50, 10), (50, 15)):
        construct = jit(lambda w, L=num_tables, K=num_bits: build(jax.random.key(1), w, num_tables=L, num_bits=K))
        tables = jax.block_until_ready(construct(weights))
        query = jit(functools.partial(active_set, size=size)).lower(key, tables, x).compile()
        times = paired(lambda: query(key, tables, x), lambda: product(x, weights), rounds)  # noqa: B023
        results.append(
            {
                "num_tables": num_tables,
                "num_bits": num_bits,
                "build_seconds": seconds(lambda: construct(weights)),  # noqa: B023
                "query_seconds": times["seconds"] / BATCH,
                "product_seconds": times["reference_seconds"] / BATCH,
                "query_megabytes": _megabytes(query),
                "build_megabytes": _megabytes(construct.lower(weights).compile()),
            }
        )
    return results


def _megabytes(compiled: Any) -> float:
    """The memory of a program's arguments, results and temporaries, by XLA's account."""
    memory = compiled.memory_analysis()
    return (memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes) / 1e6


def comparison_against_buckets(rounds: int) -> dict[int, float]:
    """By the number of units: the time of comparing all units' codes over that of collecting buckets.

    The query is one example, with a twentieth of the units active.
    """
    results = {}
    for units in (2_048, 4_096, 32_768):
        x, key = normal((1, FEATURES), 0), jax.random.key(3)
        with_buckets = build(jax.random.key(1), random_weights(units, FEATURES))
        without = with_buckets._replace(order=None, offsets=None)
        query = jit(functools.partial(active_set, size=units // 20))
        times = paired(lambda: query(key, without, x), lambda: query(key, with_buckets, x), 10 * rounds)  # noqa: B023
        results[units] = times["ratio"]
    return results
