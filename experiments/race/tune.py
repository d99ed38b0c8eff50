"""Each arm's own learning rate, and batch size where it may choose one, on held-out data."""

import math

from experiments.race.clock import Clock
from experiments.race.config import TRIAL_SEED
from experiments.race.contest import Choice, Contest, batch_sizes
from experiments.race.record import Record
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.train_family import train_family


def tune(contest: Contest, record: Record, clock: Clock, rates: tuple[float, ...], seconds: float) -> dict[str, Choice]:
    """Tries every rate, then the best one with other batch sizes: the schedule of each trial ends with its seconds.

    With another batch size the rate is scaled by the root of their ratio. An arm that has half of another's batch size
    must come after it.

    Args:
        contest: for trials.
        record: what it holds already is not tried again.
        clock: turns seconds into steps.
        rates: for each arm, scaled as it says.
        seconds: of each trial.

    Returns:
        What did best, by arm.
    """
    chosen: dict[str, Choice] = {}
    for name, arm in contest.arms.items():
        scaled = tuple(float(f"{arm.rate_scale * rate:.6g}") for rate in rates)
        sizes = batch_sizes(contest.arms, name)
        if arm.half_of is not None:
            sizes = (chosen[arm.half_of].batch_size // 2,)
        first, *others = sizes
        trial = _Trial(contest, record, clock, name, seconds)
        best = trial.best(first, scaled)
        found = {best: trial.accuracy(best)}
        for size in others:
            other = Choice(size, float(f"{best.lr * math.sqrt(size / first):.6g}"))
            trial.run(size, (other.lr,))
            found[other] = trial.accuracy(other)
        chosen[name] = max(found, key=lambda choice: found[choice])
        print(f"{name}: batches of {chosen[name].batch_size}, learning rate {chosen[name].lr:g}", flush=True)
    return chosen


class _Trial:
    """The trials of one arm."""

    def __init__(self, contest: Contest, record: Record, clock: Clock, arm: str, seconds: float):
        self._contest, self._record, self._clock, self._arm, self._seconds = contest, record, clock, arm, seconds

    def run(self, batch_size: int, rates: tuple[float, ...]) -> None:
        """Trains with those of the rates that were not tried, by one program."""
        lines, key = self._record.tuning, {"arm": self._arm, "batch_size": batch_size}
        missing = [rate for rate in rates if lines.get(**key, lr=rate) is None]
        if not missing:
            return
        steps = self._clock.steps(self._arm, batch_size, self._seconds)
        family = self._contest.family(self._arm, batch_size, missing, steps, TRIAL_SEED)
        rows = train_family(family, numbered_seeds(family.config), self._contest.task)
        last = {row.method: row for row in rows}
        measure = family.config.row.measures[0]
        for rate, setting in zip(missing, family.settings, strict=True):
            lines.add({**key, "lr": rate, "steps": steps, "accuracy": measure.of(last[setting.name])})

    def accuracy(self, choice: Choice) -> float:
        """What a trial has reached; a network of NaNs is the worst."""
        line = self._record.tuning.get(arm=self._arm, **choice._asdict())
        assert line is not None
        return -math.inf if math.isnan(line["accuracy"]) else line["accuracy"]

    def best(self, batch_size: int, rates: tuple[float, ...]) -> Choice:
        """The best of the rates."""
        self.run(batch_size, rates)
        return max((Choice(batch_size, rate) for rate in rates), key=self.accuracy)
