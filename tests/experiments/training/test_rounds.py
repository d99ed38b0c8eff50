"""The rounds of steps that training is made of."""

import numpy as np

from experiments.cifar.config import Config
from experiments.training.rounds import rehashes_due, rounds_by_epoch


def test_rehashes_are_due_as_the_paper_says():
    """Every step's last rehash is the one due by the schedule, or that of the epoch's beginning."""
    config = Config(epochs=3, rehash_every=4, rehash_decay_after=12, rehash_every_late=7)
    rounds = rounds_by_epoch(np.array([10, 10, 10]), rehashes_due(config, 30))
    due = {0, 4, 8, 12, 19, 26} | {0, 10, 20}
    begun = [10 * epoch + start for epoch in range(3) for start, stop in rounds[epoch] if start < stop]
    assert begun == sorted(due)
    steps = [10 * epoch + i for epoch in range(3) for start, stop in rounds[epoch] for i in range(start, stop)]
    assert steps == list(range(30))


def test_an_epoch_is_one_round_where_nothing_is_due():
    np.testing.assert_array_equal(rounds_by_epoch(np.array([1, 5, 10]), ()), [[[0, 1]], [[0, 5]], [[0, 10]]])
