"""Characters as numbers, and what is held out."""

import gzip

import numpy as np
import pytest

from experiments.characters.config import CharactersConfig
from experiments.characters.data import RARE, as_numbers, divide, load_data, vocabulary_of
from experiments.process.errors import UsageError


def test_rare_characters_are_one():
    text = "abab\n¿abc"
    vocabulary = vocabulary_of(text, 2)
    assert vocabulary == f"{RARE}ab"
    assert as_numbers(text, vocabulary).tolist() == [1, 2, 1, 2, 0, 0, 1, 2, 0]
    with pytest.raises(UsageError, match=r"--min-count .* got 3: 1 occur"):
        vocabulary_of("aaabb", 3)


def test_held_out_stretches_are_apart():
    """Every character is trained on or held out, windows follow each other, and validation never sees the test's."""
    tokens = np.arange(17 * 100, dtype=np.int32)
    options = {"window": 1, "held_out_every": 10, "windows": 10_000}
    train, test = divide(tokens, validation=False, **options)
    less, other = divide(tokens, validation=True, **options)
    assert train.shape == (90, 17) and test.shape == other.shape == (160, 2) and less.shape == (80, 17)
    assert (np.diff(test, axis=1) == 1).all()
    assert set(tokens) == {*train.ravel()} | {*test.ravel()} and not {*train.ravel()} & {*test.ravel()}
    assert not {*other.ravel()} & ({*less.ravel()} | {*test.ravel()})
    assert divide(tokens, validation=False, **{**options, "windows": 7})[1].shape == (7, 2)
    assert divide(tokens[:16], validation=False, **options) is None


def test_two_texts_share_a_vocabulary(tmp_path):
    """A plain one and a compressed one; nothing is held out of the one that comes first."""
    one, two = tmp_path / "one.txt", tmp_path / "two.gz"
    one.write_text("ab" * 200)
    two.write_bytes(gzip.compress(b"bc" * 100))
    config = CharactersConfig(text=one, pretrain_text=two, pretrain_steps=1, window=2, held_out_every=3)
    data, first = load_data(config)
    assert data.vocabulary == first.vocabulary == f"{RARE}abc" and (data.name, first.name) == ("one.txt", "two.gz")
    assert first.train.shape == (6, 33) and {*np.unique(first.train)} == {2, 3}
    two.write_bytes(gzip.compress(b"bc" * 10))
    with pytest.raises(UsageError, match=r"--pretrain-text must have at least 33 characters .*: two.gz"):
        load_data(config)
    with pytest.raises(UsageError, match=r"--text must have at least 3075 characters"):
        load_data(CharactersConfig(text=one))
