"""Training steps of a transformer that save work or memory, compiled."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.characters.network import CallBlock, Transformer
from experiments.training.compilation import jit
from jaxapprox.efficiency import flops
from jaxapprox.linen import MCDense

POLICIES = {"products kept": "dots_with_no_batch_dims_saveable", "nothing kept": "nothing_saveable"}
"""What `jax.checkpoint` keeps of a block, and the name of that in `jax.checkpoint_policies`."""


class Variant(NamedTuple):
    """How a step is made cheaper.

    Attributes:
        ratio: of the rows that kernel gradients are estimated from, 1 for exact ones.
        kept: of each block for the backward pass, a name in `POLICIES`; None for all that it needs.
    """

    ratio: float = 1.0
    kept: str | None = None

    @property
    def name(self) -> str:
        parts = [f"kernel {self.ratio}"] if self.ratio < 1 else []
        return ", ".join(parts + ([self.kept] if self.kept else [])) or "exact"

    def model(self, blocks: int, features: int, heads: int, vocabulary: int) -> Transformer:
        """The network that is trained so; parameters are the same for all."""
        dense = functools.partial(MCDense, ratio=self.ratio, mode="kernel")
        return Transformer(blocks, features, heads, vocabulary, dense, functools.partial(_checkpointed, self.kept))


def loss_of(model: Transformer, key: jax.Array, params: Any, text: jax.Array) -> jax.Array:
    """The mean loss of the next character in `text` `(batch, length + 1)` int32."""
    logits = model.apply(params, text[:, :-1], exact=False, rngs={"sample": key})
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]))


class Step(NamedTuple):
    """A compiled training step.

    Attributes:
        call: a state, a key and a text -> the next state.
        flops: as XLA counts them before it optimizes.
        temporary_bytes: beside arguments and results, by XLA's account of the compiled program.
    """

    call: Callable[[Any, jax.Array, jax.Array], Any]
    flops: float
    temporary_bytes: int


def compiled_step(model: Transformer, optimizer: optax.GradientTransformation, state: Any, text: jax.Array) -> Step:
    """The step of a model, for states (parameters, optimizer's state) and texts shaped like these."""

    def step(state, key, text):
        params, optimizer_state = state
        gradient = jax.grad(functools.partial(loss_of, model, key))(params, text)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        return optax.apply_updates(params, updates), optimizer_state

    arguments = state, jax.random.key(0), text
    compiled = jit(step).lower(*arguments).compile()
    memory: Any = compiled.memory_analysis()
    return Step(compiled, flops(step, *arguments), int(memory.temp_size_in_bytes))


def _checkpointed(kept: str | None, call: CallBlock) -> CallBlock:
    return call if kept is None else nn.remat(call, policy=getattr(jax.checkpoint_policies, POLICIES[kept]))
