"""Times and memory of whole training steps, exact and sampled in turn."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxapprox._src.efficiency.examples import batch_of
from jaxapprox._src.efficiency.progress import Memory
from jaxapprox._src.efficiency.step_time import StepTime

SIZES = (1, 16, 128)
_ROUNDS = 5
_EXAMPLES_A_CALL = 16  # smaller batches are timed several at a time
_MOST_STEPS = 2

Loss = Callable[[jax.Array, Any, Any], jax.Array]
"""A key, parameters and a batch -> a scalar."""


class Timed(NamedTuple):
    """Times of both steps, their memory at the largest size that was timed, and the seconds that all steps took."""

    exact: StepTime
    sampled: StepTime
    memory: Memory | None
    seconds: float


def time_steps(
    key: jax.Array,
    exact: Loss,
    sampled: Loss,
    params: Any,
    examples: Any,
    optimizer: optax.GradientTransformation,
) -> Timed:
    """Times steps (loss, gradient, optimizer) at several batch sizes, exact and sampled in turn.

    Raises:
        ValueError: if a loss is not a finite scalar.
    """
    losses = {"exact_loss": exact, "sampled_loss": sampled}
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(_ROUNDS)] for name in losses}
    memory: dict[str, int] = {}
    total = 0.0
    for size in SIZES:
        batch = jax.tree.map(lambda x, size=size: batch_of(x, size), examples)
        steps = {}
        for name, loss in losses.items():
            steps[name] = _Step(name, loss, key, params, batch, optimizer)
            memory[name] = steps[name].memory
        start = time.perf_counter()
        for number in range(_ROUNDS):
            for name, step in steps.items():
                seconds[name][number].append(step.seconds(min(_MOST_STEPS, max(1, _EXAMPLES_A_CALL // size))))
        total += time.perf_counter() - start
    times = [StepTime.fit(SIZES, seconds[name]) for name in losses]
    known = all(memory.values())
    return Timed(times[0], times[1], Memory(SIZES[-1], *memory.values()) if known else None, total)


class _Step:
    """A compiled step with the state that it goes on from."""

    def __init__(
        self, name: str, loss: Loss, key: jax.Array, params: Any, batch: Any, optimizer: optax.GradientTransformation
    ):
        shape: Any = jax.eval_shape(loss, key, params, batch)
        if getattr(shape, "shape", None) != ():
            raise ValueError(f"{name} must return a scalar, got {shape}")

        def step(state: Any, batch: Any) -> tuple[Any, jax.Array]:
            key, params, optimizer_state = state
            key, draw_key = jax.random.split(key)
            value, gradient = jax.value_and_grad(functools.partial(loss, draw_key))(params, batch)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
            return (key, optax.apply_updates(params, updates), optimizer_state), value

        params = jax.tree.map(jnp.copy, params)  # the steps overwrite theirs
        state = (jnp.copy(key), params, optimizer.init(params))
        self._batch = batch
        self._call = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
        analysis = self._call.memory_analysis()
        self.memory = 0 if analysis is None else int(analysis.temp_size_in_bytes)
        self._state, value = self._call(state, batch)
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {float(value)}")

    def seconds(self, steps: int) -> float:
        """Of one step, by several in a row."""
        start = time.perf_counter()
        for _ in range(steps):
            self._state, value = self._call(self._state, self._batch)
        jax.block_until_ready((self._state, value))
        return (time.perf_counter() - start) / steps
