"""Reading a text, and the places in it."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from experiments.process.errors import UsageError
from experiments.words.places import keep_share, places_at, split
from experiments.words.text import load_text, to_text

LINES = ["The cat, the DOG; a Bird!", "", "a dog — the cat", "once upon"]


def test_words_are_numbered_by_how_common_they_are():
    """Letters a to z in lower case; ties in alphabetical order; rare words vanish from their lines."""
    text = to_text("own", LINES, min_count=2)
    assert text.vocabulary == ("the", "a", "cat", "dog") and text.counts.tolist() == [3, 2, 2, 2]
    assert [text.vocabulary[i] for i in text.tokens] == ["the", "cat", "the", "dog", "a", "a", "dog", "the", "cat"]
    assert text.lines.tolist() == [0] * 5 + [2] * 4


def test_files_plain_and_compressed(tmp_path):
    """The same text from both, and one clear refusal of what can't be read."""
    plain, packed, other = tmp_path / "text", tmp_path / "text.gz", tmp_path / "other.gz"
    plain.write_text("\n".join(LINES), encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    (one, two), own = (load_text(path) for path in (plain, packed)), to_text("", LINES, min_count=2)
    for text in (one, two):
        assert text.vocabulary == own.vocabulary and (text.tokens == own.tokens).all()
    other.write_bytes(packed.read_bytes()[:-9])
    latin = tmp_path / "latin"
    latin.write_bytes("the café the".encode("latin-1"))
    for path, said in ((other, "readable"), (tmp_path / "none", "readable"), (tmp_path, "readable"), (latin, "UTF-8")):
        with pytest.raises(UsageError, match=f"--text must be a {said} file"):
            load_text(path)
    with pytest.raises(UsageError, match=r"--min-count .* 1 of text"):
        load_text(plain, min_count=3)


def test_neighbours_of_every_place():
    """Against a loop over words and lines: neighbours of the same line alone, and no line on both sides."""
    rng = np.random.default_rng(0)
    words = np.array([f"{a}{b}" for a in "abcdef" for b in "xyz"])
    text = to_text("own", [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(60)], min_count=1)
    window = 3
    train, held_out = split(text, window=window, held_out_every=5, places=10_000, subsample=0)
    lines = [text.tokens[text.lines == line].tolist() for line in range(60)]

    def slow(lines):
        return sorted(
            (word, [*[-1] * (window - i), *line[max(0, i - window) : i]], [*line[i + 1 : i + 1 + window]])
            for line in lines
            if len(line) > 1
            for i, word in enumerate(line)
        )

    count = len(train.tokens) - 2 * window
    both = [places_at(train, np.arange(count), window), held_out]
    found = [
        sorted(
            (label, context[:window], [c for c in context[window:] if c >= 0])
            for context, label in zip(part.contexts.tolist(), part.labels.tolist(), strict=True)
        )
        for part in both
    ]
    assert sorted(found[0] + found[1]) == slow(lines)
    assert len({*map(str, found[1])}) < len(found[0]) and 0 < len(found[1]) < len(found[0])
    fewer = split(text, window=window, held_out_every=5, places=7, subsample=0)[1]
    assert fewer.contexts.shape == (7, 2 * window)


def test_common_words_are_thinned_out():
    """By word2vec's rule, in expectation; none where the threshold is 0."""
    counts = np.array([900_000, 90_000, 9_900, 100])
    f, t = counts / counts.sum(), 1e-3
    np.testing.assert_allclose(keep_share(counts, t), np.minimum(1, np.sqrt(t / f) + t / f))
    assert (keep_share(counts, 0) == 1).all()
    text = to_text("own", ["a b"] * 4_000, min_count=1)
    train, held_out = split(text, window=1, held_out_every=4, places=10, subsample=0.05)
    share = keep_share(text.counts, 0.05)[0]  # both words must be kept
    assert abs((len(train.tokens) - 2) / 2 - 3_000 * share**2) < 5 * np.sqrt(3_000 * share**2)
    assert (np.sort(np.c_[held_out.contexts.max(1), held_out.labels]) == [0, 1]).all()


def test_texts_too_short():
    for lines, said in ((["a b c"], "--window of 2"), (["a a a a a a"], "2 lines"), (["a", "a"] * 9, "2 lines")):
        with pytest.raises(UsageError, match=said):
            split(to_text("own", lines, min_count=1), window=2, held_out_every=5, places=9, subsample=0)


def test_dictionaries(forked, tmp_path):
    """A paragraph or a gloss a line, the short ones and the licence left out; and what is missing is named."""
    folder, out = tmp_path / "packages", tmp_path / "out.txt.gz"
    program = "experiments.words.dictionaries"
    assert forked.run(program, str(folder), str(out)).returncode == 2
    gcide, wordnet = folder / "usr/share/dictd/gcide.dict.dz", folder / "usr/share/wordnet"
    gcide.parent.mkdir(parents=True)
    wordnet.mkdir(parents=True)
    gcide.write_bytes(gzip.compress(b"One two three, four\nfive six seven EIGHT\n \none two\n\n" + b"caf\xe9 " * 8))
    for part in ("noun", "verb", "adj", "adv"):
        (wordnet / f"data.{part}").write_text(
            f"  1 licence | a b c d e f\n001 x | {part} is a word; it's one\n2 y | no\n"
        )
    assert forked.run(program, str(folder), str(out)).returncode == 0
    expected = ["one two three four five six seven eight", " ".join(["caf"] * 8)]
    expected += [f"{part} is a word it s one" for part in ("noun", "verb", "adj", "adv")]
    assert gzip.decompress(out.read_bytes()).decode().splitlines() == expected
    assert len(load_text(Path(out)).vocabulary) == 7
