"""A small transformer that tells the next character of a text (Vaswani et al. 2017), LayerNorm before each part."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

_WAVELENGTH = 10_000.0  # of the slowest position wave, over 2 pi
_WIDER = 4  # hidden units of the MLP over features


class MakeLayer(Protocol):
    """Makes a layer, called as `nn.Dense`; a call of the layer takes a switch `deterministic`."""

    def __call__(self, features: int, /, *, name: str, **options: Any) -> nn.Module: ...


class Attention(nn.Module):
    """Causal self-attention: a position looks at itself and at those before it."""

    heads: int
    dense: MakeLayer

    @nn.compact
    def __call__(self, x: jax.Array, *, exact: bool) -> jax.Array:
        """x `(batch, length, features)` -> the same shape."""
        features = x.shape[-1]

        def part(name):
            y = self.dense(features, name=name)(x, deterministic=exact)
            return y.reshape(*y.shape[:-1], self.heads, features // self.heads)

        seen = jax.nn.dot_product_attention(part("query"), part("key"), part("value"), is_causal=True)
        return self.dense(features, name="out")(seen.reshape(x.shape), deterministic=exact)


class Block(nn.Module):
    """Attention, then an MLP with one hidden layer, each added to what it has read."""

    heads: int
    dense: MakeLayer

    @nn.compact
    def __call__(self, x: jax.Array, *, exact: bool) -> jax.Array:
        """x `(batch, length, features)` -> the same shape."""
        normal = nn.LayerNorm(dtype=x.dtype, name="attention_norm")(x)
        x = x + Attention(self.heads, self.dense, name="attention")(normal, exact=exact)
        normal = nn.LayerNorm(dtype=x.dtype, name="mlp_norm")(x)
        y = self.dense(_WIDER * x.shape[-1], name="up")(normal, deterministic=exact)
        return x + self.dense(x.shape[-1], name="down")(nn.gelu(y), deterministic=exact)


CallBlock = Callable[[Block, jax.Array], jax.Array]


class Transformer(nn.Module):
    """Logits of the next character at every position of a text; embeddings and the output layer are exact.

    Attributes:
        blocks: how many.
        features: of a position, even, and a multiple of `heads`.
        heads: of attention.
        vocabulary: different characters.
        dense: makes the six dense layers of a block: query, key, value, out, up and down.
        checkpoint: wraps a call of a block, as `flax.linen.remat` does to save memory; by default nothing does.
        dtype: what it computes in; parameters, and the sums of LayerNorm and of attention's softmax, are float32.
    """

    blocks: int
    features: int
    heads: int
    vocabulary: int
    dense: MakeLayer
    checkpoint: Callable[[CallBlock], CallBlock] = lambda call: call
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, *, exact: bool) -> jax.Array:
        """tokens `(batch, length)` int32 -> logits `(batch, length, vocabulary)` float32.

        Args:
            tokens: characters as numbers.
            exact: do without sampling.
        """
        normal = nn.initializers.normal(1.0)
        embed = nn.Embed(self.vocabulary, self.features, embedding_init=normal, dtype=self.dtype, name="embedding")
        x = embed(tokens) + position_waves(tokens.shape[1], self.features)[None].astype(self.dtype)
        dense = functools.partial(self.dense, dtype=self.dtype)
        call = self.checkpoint(lambda block, x: block(x, exact=exact))
        for i in range(self.blocks):
            x = call(Block(self.heads, dense, name=f"block_{i}"), x)
        x = nn.LayerNorm(dtype=self.dtype, name="output_norm")(x)
        return nn.Dense(self.vocabulary, dtype=self.dtype, name="output")(x).astype(jnp.float32)


def position_waves(length: int, features: int) -> jax.Array:
    """What tells positions apart: sines and cosines `(length, features)` float32 of slower and slower waves."""
    slowness = _WAVELENGTH ** (np.arange(features // 2) / (features // 2))
    angles = np.arange(length)[:, None] / slowness
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], -1), jnp.float32)
