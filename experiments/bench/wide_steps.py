"""A training step of `experiments.words` on random data, by the number of classes and the batch: time and memory."""

import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.options import Bench
from experiments.bench.peer_process import has, tf_seconds, torch_seconds
from experiments.bench.random_data import random_text
from experiments.process.timing import seconds
from experiments.training.compilation import jit
from experiments.training.loop import Train, make_train
from experiments.words.config import METHODS, WordsConfig
from experiments.words.data import WordsData
from experiments.words.learner import words_learner

_SCORES_A_CALL = 2**26  # that an exact epoch computes at least; it has at least a step
_TORCH_SCORES = 2**27  # of PyTorch's full softmax at most: a step has three arrays of them, of 0.5 GB each
_CLASSES, _BATCH = 1_000_000, 256  # where memory alone is asked for


def measure_steps(options: Bench) -> dict[str, Any]:
    """By classes and batch: seconds of a step by round, and megabytes by XLA's account, of each method of
    `experiments.words`, and seconds of PyTorch's and TensorFlow's where an interpreter has them.

    A step of hashed has its share of a rehash.
    """
    torch = ("full", "adaptive") if has(options.torch_python, "torch") else ()
    tensorflow = has(options.tf_python, "tensorflow")
    results: dict[str, Any] = {}
    for classes in options.classes:
        data = random_text(classes)
        for batch in options.batch_sizes:
            timed: dict[str, Callable[[], float]] = {}
            memory = {}
            for method in METHODS:
                timed[method], memory[method] = _our_step(method, batch, data)
            sizes = {"classes": classes, "batch_size": batch}
            for method in torch:
                if method == "adaptive" or classes * batch <= _TORCH_SCORES:
                    timed[f"torch {method}"] = functools.partial(
                        torch_seconds, options.torch_python, "torch_words", method=method, **sizes
                    )
            if tensorflow:
                chosen = {**sizes, "candidates": min(classes, WordsConfig.candidates[0])}
                timed["tensorflow sampled"] = functools.partial(tf_seconds, options.tf_python, "tf_words", **chosen)
            rounds = [{name: step() for name, step in timed.items()} for _ in range(options.rounds)]
            by_name = {name: [one[name] for one in rounds] for name in timed}
            results[f"{classes} {batch}"] = {"seconds": by_name, "megabytes": memory}
    return {"wide_steps": results, "wide_temporaries": _temporaries(random_text(_CLASSES))}


def show_steps(results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians, ratios to `exact` round by round, and megabytes."""
    table = Table("classes", "batch", "method", "ms", "exact / it", "range", "temp MB", "MB", box=box.SIMPLE_HEAD)
    table.title = "Words in context, 128 features, 1,024 candidates: a training step"
    for setting, measured in results["wide_steps"].items():
        classes, batch = map(int, setting.split())
        for name, times in measured["seconds"].items():
            ratios = [e / t for e, t in zip(measured["seconds"]["exact"], times, strict=True)]
            megabytes = measured["megabytes"].get(name, {})
            table.add_row(
                f"{classes:,}",
                str(batch),
                name,
                f"{1e3 * statistics.median(times):.3g}",
                f"{statistics.median(ratios):.3g}",
                f"{min(ratios):.2g} to {max(ratios):.2g}",
                *(f"{megabytes[key]:.0f}" if megabytes else "" for key in ("temporaries", "total")),
            )
        table.add_section()
    console.print(table)
    for name, megabytes in results["wide_temporaries"].items():
        said = f"{name}: {megabytes:.0f} MB of temporaries at {_CLASSES:,} classes, batch {_BATCH}"
        console.print(said, highlight=False)


def _our_step(method: str, batch: int, data: WordsData) -> tuple[Callable[[], float], dict[str, float]]:
    """Times an epoch that goes on from the last one, and divides by its steps; and its memory."""
    train, epoch, memory = _compiled(method, batch, data)
    kept = [jit(train.init)(jax.random.key(0))]
    rounds = train.rounds[0]

    def call() -> Any:
        kept[0], metrics = epoch(kept[0], data.train, rounds)
        return metrics

    seconds(call)
    return lambda: seconds(call) / int(rounds[-1, 1]), memory


def _temporaries(data: WordsData) -> dict[str, float]:
    """Megabytes of each method's step, without a rehash, and of a rehash."""
    found = {}
    for method in METHODS:
        train, _, memory = _compiled(method, _BATCH, data, rehash_every=0)
        found[method] = memory["temporaries"]
        if (rehash := _train(method, _BATCH, data, WordsConfig.rehash_every).learner.rehash) is not None:
            state = jax.eval_shape(train.init, jax.random.key(0))
            compiled = jit(rehash, donate_argnums=1).lower(state.params, state.tables).compile()
            found[f"{method}, rehash"] = compiled.memory_analysis().temp_size_in_bytes / 1e6
    return found


def _compiled(
    method: str, batch: int, data: WordsData, rehash_every: int = WordsConfig.rehash_every
) -> tuple[Train, Any, dict[str, float]]:
    """The training, an epoch of it compiled, in which the state stays in place, and megabytes of that."""
    train = _train(method, batch, data, rehash_every)
    state = jax.eval_shape(train.init, jax.random.key(0))
    compiled = jit(train.epoch, donate_argnums=0).lower(state, data.train, train.rounds[0]).compile()
    memory = compiled.memory_analysis()
    kept = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    temporaries = memory.temp_size_in_bytes
    return train, compiled, {"temporaries": temporaries / 1e6, "total": (kept + temporaries) / 1e6}


def _train(method: str, batch: int, data: WordsData, rehash_every: int) -> Train:
    classes = len(data.vocabulary)
    by_rows = WordsConfig.rehash_every  # as many, so that an epoch of hashed has one rehash
    config = WordsConfig(
        methods=(method,),
        batch_sizes=(batch,),
        queries=min(batch, WordsConfig.queries),
        candidates=(min(classes, WordsConfig.candidates[0]),),
        rehash_every=rehash_every,
        steps=max(1, min(100, _SCORES_A_CALL // (classes * batch))) if method == "exact" else by_rows,
        evaluations=1,
    )
    return make_train(config, words_learner(config, METHODS[method].layers(config), data), data)
