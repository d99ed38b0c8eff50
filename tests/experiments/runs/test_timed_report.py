"""When a method was where the first one ended."""

import dataclasses
import math

from experiments.runs.timed_report import report, seconds_to_base
from experiments.words.rows import WordsRow

ROW = WordsRow.of(
    method="exact",
    seed=0,
    epoch=1,
    train_loss=1.0,
    diagnostics={},
    train_seconds=1.0,
    recalibrate_seconds=0.0,
    step_seconds=0.1,
    compile_seconds=1.0,
    steps=1.0,
    hit_at_1=0.0,
    hit_at_10=0.1,
    test_loss=5.0,
)


def rows(method, seed, seconds, hits):
    return [
        dataclasses.replace(ROW, method=method, seed=seed, epoch=e, steps=10 * e, train_seconds=s, hit_at_10=h)
        for e, (s, h) in enumerate(zip(seconds, hits, strict=True), 1)
    ]


def test_seconds_are_interpolated_seed_by_seed(tmp_path):
    """In the logarithm of the seconds, to the first time; and the summary says which seeds never came so far."""
    exact = [row for seed in (0, 1) for row in rows("exact", seed, (1.0, 10.0), (0.1, 0.2))]
    sampled = [*rows("sampled", 0, (0.1, 0.4, 1.6), (0.1, 0.3, 0.25)), *rows("sampled", 1, (0.1, 0.4), (0.0, 0.1))]
    assert seconds_to_base([*rows("exact", 0, (9.0,), (0.1,)), *sampled], "sampled") == [(0.1, 9.0)]
    (found, whole), (never, _) = seconds_to_base([*exact, *sampled], "sampled")
    assert math.isclose(found, 0.2) and whole == 10 and never is None
    lines = report([*exact, *sampled], tmp_path)
    assert "| sampled | 0.2 (1 of 2 seeds never) | 50.0 |" in lines
    assert (tmp_path / "hit_at_10.png").read_bytes().startswith(b"\x89PNG")
