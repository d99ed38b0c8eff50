"""A text of few words in which neighbours say which word it is."""

import numpy as np


def small_lines(count: int = 300) -> list[str]:
    """Lines of up to 9 words, of which those that begin alike keep together."""
    rng = np.random.default_rng(0)
    topics = [[f"{a}{b}" for b in "abcdefghij"] for a in "pqrst"]
    return [" ".join(rng.choice(topics[rng.integers(5)], rng.integers(2, 10))) for _ in range(count)]
