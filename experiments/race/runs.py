"""The runs of a race: every arm with every budget and seed."""

from experiments.race.clock import Clock
from experiments.race.contest import Choice, Contest
from experiments.race.record import Record
from experiments.seeds.segments import numbered_seeds
from experiments.seeds.train_family import CompiledFamily, compile_family


def run_all(
    contest: Contest, record: Record, clock: Clock, chosen: dict[str, Choice], budgets: tuple[float, ...], seeds: int
) -> None:
    """Trains what is missing: all arms of a seed, then the next seed, then the next budget.

    Args:
        contest: on all of the data.
        record: what it holds already is not trained again.
        clock: turns seconds into steps.
        chosen: batch size and learning rate, by arm.
        budgets: seconds.
        seeds: from seed 0 on.
    """
    for budget in budgets:
        compiled: dict[str, CompiledFamily] = {}  # of this budget: a program serves all seeds
        for seed in range(seeds):
            for arm, choice in chosen.items():
                key = {"arm": arm, "budget": budget, "seed": seed}
                if record.runs.get(**key) is not None:
                    continue
                steps = clock.steps(arm, choice.batch_size, budget)
                family = contest.family(arm, choice.batch_size, (choice.lr,), steps, seed)
                if arm not in compiled:
                    compiled[arm] = compile_family(family, contest.task)
                last = compiled[arm].rows(numbered_seeds(family.config))[-1]
                found = {measure.column: getattr(last, measure.column) for measure in last.measures}
                seconds = {"train_seconds": last.train_seconds}
                accuracy = last.measures[0].of(last)
                record.runs.add({**key, **choice._asdict(), "steps": steps, "accuracy": accuracy, **found, **seconds})
                print(f"{arm}, {budget:g} s, seed {seed}: {last.measures[0].said(last)}", flush=True)
