"""A training step of a transformer: kernel gradients from samples of tokens, beside `jax.checkpoint`, and together.

Both let go of what the forward pass has computed: a sample keeps some rows of a layer's input, and saves operations
too; a checkpoint computes anew in the backward pass what it did not keep.
"""

import functools
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench.options import HEAD, Bench
from experiments.characters.network import CallBlock, Transformer
from experiments.process.timing import seconds
from experiments.training.compilation import jit
from jaxapprox.linen import MCDense

_RATIOS = (0.5, 0.3, 0.1)
_TOGETHER = 0.3  # the ratio that is measured with checkpoints as well
_POLICIES = ("dots_with_no_batch_dims_saveable", "nothing_saveable")  # of `jax.checkpoint_policies`
_VOCABULARY = 128
_MEBIBYTE = 2**20


class _Variant(NamedTuple):
    """How a step is made cheaper: the ratio of rows in kernel gradients, and the policy by which blocks are kept."""

    ratio: float = 1.0
    policy: str | None = None

    @property
    def name(self) -> str:
        sampled = [f"kernel {self.ratio}"] if self.ratio < 1 else []
        return ", ".join(sampled + ([self.policy] if self.policy else [])) or "exact"


_VARIANTS = (
    _Variant(),
    *(_Variant(ratio) for ratio in _RATIOS),
    *(_Variant(policy=policy) for policy in _POLICIES),
    *(_Variant(_TOGETHER, policy) for policy in _POLICIES),
)


class _Step(NamedTuple):
    """A compiled training step with what it takes."""

    call: Callable[[], Any]
    flops: float
    temporary_bytes: int


def measure(options: Bench) -> dict[str, Any]:
    """Of every variant: seconds of a step by round, FLOPs and bytes beside arguments and results, by XLA's account."""
    steps = {variant.name: _step(variant, options) for variant in _VARIANTS}
    for step in steps.values():
        seconds(step.call)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            times[name].append(seconds(step.call))
    return {
        "transformer": {
            "sizes": {name: getattr(options, name) for name in ("blocks", "features", "sequences", "tokens")},
            "step_seconds": times,
            "flops": {name: step.flops for name, step in steps.items()},
            "temporary_bytes": {name: step.temporary_bytes for name, step in steps.items()},
        }
    }


def show(options: Bench, results: dict[str, Any], console: Console) -> None:
    """Prints a table of medians, and of each variant relative to the exact step."""
    measured = results["transformer"]
    sizes, times = measured["sizes"], measured["step_seconds"]
    table = Table("variant", "ms", "exact / it", "GFLOP", "/ exact", "MiB", "/ exact", box=box.SIMPLE_HEAD)
    table.title = (
        f"Transformer, {sizes['blocks']} blocks of {sizes['features']}, batch {sizes['sequences']} x"
        f" {sizes['tokens']}: a training step"
    )
    for name, of_variant in times.items():
        speed = statistics.median(e / t for e, t in zip(times["exact"], of_variant, strict=True))
        cells = [f"{1e3 * statistics.median(of_variant):.0f}", f"{speed:.2f}"]
        for quantity, unit in (("flops", 1e9), ("temporary_bytes", _MEBIBYTE)):
            value = measured[quantity][name]
            cells += [f"{value / unit:,.0f}", f"{value / measured[quantity]['exact']:.2f}"]
        table.add_row(name, *cells)
    console.print(table)


def _step(variant: _Variant, options: Bench) -> _Step:
    """A step of Adam on random tokens; of attention the six dense layers are sampled, products of activations not."""
    dense = functools.partial(MCDense, ratio=variant.ratio, mode="kernel")
    model = Transformer(
        options.blocks, options.features, options.features // HEAD, _VOCABULARY, dense, _checkpoint(variant.policy)
    )
    optimizer = optax.adam(1e-3)
    text = jax.random.randint(jax.random.key(0), (options.sequences, options.tokens + 1), 0, _VOCABULARY)
    params = jit(functools.partial(model.init, exact=True))(jax.random.key(1), text[:, :-1])

    def step(params, state, key, text):
        def loss(params):
            logits = model.apply(params, text[:, :-1], exact=False, rngs={"sample": key})
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]))

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    arguments = (params, jit(optimizer.init)(params), jax.random.key(2), text)
    lowered = jit(step).lower(*arguments)
    compiled = lowered.compile()
    return _Step(
        functools.partial(compiled, *arguments),
        float(lowered.cost_analysis()["flops"]),
        compiled.memory_analysis().temp_size_in_bytes,
    )


def _checkpoint(policy: str | None) -> Callable[[CallBlock], CallBlock]:
    """Wraps the call of a block, of which only what the policy names is kept for the backward pass."""
    if policy is None:
        return lambda call: call
    return functools.partial(nn.remat, policy=getattr(jax.checkpoint_policies, policy))
