"""Random data for timings: images of the shapes of CIFAR-10 and MNIST, words, inputs and weights of dense layers."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset, Split
from experiments.words.data import WordsData
from experiments.words.places import Places, Stretch

_WORDS, _LINE = 100_000, 20
_INK = 0.19  # share of MNIST's pixels that are not 0


def random_cifar(n: int) -> Dataset:
    """`n` images (32, 32, 3), augmented as CIFAR-10's are, whose labels are 0 to 9 in turn."""
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)
    split = Split(jnp.asarray(images), jnp.arange(n, dtype=jnp.int32) % 10)
    return Dataset("random", split, split, 10, crop=2, flip=True)


def random_digits(n: int) -> Dataset:
    """`n` images (28, 28, 1) with MNIST's share of pixels that are not 0, and random labels."""
    rng = np.random.default_rng(0)
    shape = (n, 28, 28, 1)
    images = np.where(rng.random(shape) < _INK, rng.integers(1, 256, shape), 0).astype(np.uint8)
    split = Split(jnp.asarray(images), jnp.asarray(rng.integers(0, 10, n), jnp.int32))
    return Dataset("random", split, split, 10, crop=0, flip=False)


def random_text(words: int) -> WordsData:
    """A text of 100,000 words in lines of 20, drawn by Zipf's law from a vocabulary, and a held-out place."""
    shares = 1 / np.arange(1, words + 1)
    tokens = np.random.default_rng(0).choice(words, _WORDS, p=shares / shares.sum()).astype(np.int32)
    train = Stretch(tokens, np.arange(_WORDS, dtype=np.int32) // _LINE)
    test = Places(np.zeros((1, 10), np.int32), np.zeros(1, np.int32))
    return WordsData("random", tuple(map(str, range(words))), shares, *jax.tree.map(jnp.asarray, (train, test)))


def normal(shape: tuple[int, ...], seed: int) -> jax.Array:
    """Standard normal numbers, float32."""
    return jax.random.normal(jax.random.key(seed), shape)


def random_weights(units: int, features: int) -> jax.Array:
    """Normal weights `(units, features)`, scaled so that inner products with standard normal inputs are."""
    return normal((units, features), 5) / np.sqrt(features)
