"""What a clock says: the seconds of a step, and how many steps a number of seconds is."""

from experiments.process.distributed import from_first
from experiments.seeds.compiled import CompiledTraining, compile_training
from experiments.seeds.segments import chunks, numbered_seeds, train_segments
from experiments.seeds.settings import Family
from experiments.training.task import Task

_TRIAL_SECONDS = 3.0


def with_steps(training: CompiledTraining, family: Family, task: Task) -> tuple[CompiledTraining, Family]:
    """The programs and the family with a number of steps, where the options say seconds.

    A program in which the steps depend on how many there are is compiled again.
    """
    if (seconds := family.config.seconds_to_train) is None:
        return training, family
    family = family.with_steps(steps_within(seconds, training, family, task))
    if family.config.follows_steps:
        return compile_training(family, task, training.axis), family
    return training.with_steps(family, task), family


def steps_within(seconds: float, training: CompiledTraining, family: Family, task: Task) -> int:
    """How many steps of a seed take so many seconds, from a trial of some seconds; at least one in each epoch."""
    each = step_seconds(training, family, task, seconds=_TRIAL_SECONDS)
    return from_first(max(family.config.epochs, round(seconds / each)))


def step_seconds(
    training: CompiledTraining, family: Family, task: Task, *, seconds: float, steps: int | None = None
) -> float:
    """The seconds of a step of a seed: a mean over steps that take so many seconds, but for the first segment.

    Args:
        training: of the family.
        family, task: what is trained.
        seconds: at least.
        steps: at most; None for as many as there are.
    """
    axis = training.axis
    chunk = chunks(family, numbered_seeds(family.config), axis)[0]
    hyperparameters = axis.put(chunk.hyperparameters, by_seed=True)
    state = training.init(chunk.hyperparameters, chunk.keys)
    train = axis.put(task.data.train, by_seed=False)
    done, timed, spent = 0, 0, 0.0
    for progress in train_segments(training, hyperparameters, state, None, train):
        if done:
            timed, spent = timed + progress.steps, spent + progress.seconds
        done += progress.steps
        if done == steps or spent > seconds:
            break
    # A run of a single step has no other to be timed by.
    return (spent / timed if timed else progress.seconds / done) / axis.members
