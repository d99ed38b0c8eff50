"""A run that is compiled for described devices and not carried out: does it fit, and what does a step take at least?"""

from typing import NamedTuple

from experiments.compiler.roofline import Count, count_turn
from experiments.compiler.topology import DoesNotFit, Topology, compiled, describe, memory_bytes
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import SHARE_OF_MEMORY, lower_segment, with_fewer
from experiments.seeds.planning import choose_axis
from experiments.seeds.settings import Family, families
from experiments.training.options import COMPILE_FOR, RunOptions
from experiments.training.task import Task

STEP_DEPTH = 2
"""How deep the loop over steps lies in the program of a segment: within that over rounds."""
_GIBIBYTE = 2**30


class Trial(NamedTuple):
    """What was compiled for some of a family's seeds.

    Attributes:
        axis: of as many members.
        bytes: that a device needs.
        step: of all members on a device; None where the compiler gave up for want of memory.
    """

    axis: SeedAxis
    bytes: int
    step: Count | None


def dry_run(config: RunOptions, task: Task) -> int:
    """Prints for each family of settings whether its seeds fit at once, and what a step of theirs takes.

    Returns:
        The exit code: 0 if all fit.

    Raises:
        UsageError: if the options do not fit the devices.
    """
    topology = describe("--compile-for", config.compile_for or "", COMPILE_FOR)
    limit = SHARE_OF_MEMORY * topology.chip.memory
    devices = f"{len(topology.devices)} device{'s' if len(topology.devices) > 1 else ''}"
    print(f"{task.title}: compiled for {topology.name}, {devices}, {limit / _GIBIBYTE:.1f} GiB for the program on each")
    fitting = True
    for family in families(config, task.methods):
        trials = _trials(family, task, topology, limit)
        fitting &= len(trials) == 1 and trials[0].bytes <= limit
        for line in _lines(family, trials, limit):
            print(line, flush=True)
    return 0 if fitting else 1


def _trials(family: Family, task: Task, topology: Topology, limit: float) -> list[Trial]:
    """All seeds that are to be trained at once, and where these do not fit fewer, until some do or there is but one."""
    axis, _ = choose_axis(family, task, topology.devices)
    most = axis.members
    trials = []
    while True:
        trial = _trial(family, task, axis, topology)
        trials.append(trial)
        if trial.bytes <= limit or axis.members <= axis.shards:
            return trials
        axis = with_fewer(axis, most, trial.bytes / limit)


def _trial(family: Family, task: Task, axis: SeedAxis, topology: Topology) -> Trial:
    lowered = lower_segment(family, task, axis)
    try:
        program = compiled(lowered)
    except DoesNotFit as error:
        return Trial(axis, error.needed, None)
    return Trial(axis, memory_bytes(program), count_turn(program.as_text() or "", topology.chip, STEP_DEPTH))


def _lines(family: Family, trials: list[Trial], limit: float) -> list[str]:
    first, last = trials[0], trials[-1]
    name, fits = family.settings[0].name, last.bytes <= limit
    verb = "need" if first.axis.members > 1 else "needs"
    needed = f"{name}: {_seeds(first)} {verb} {_gibibytes(first.bytes)} of a device"
    if len(trials) == 1:
        lines = [f"{needed}: {'fits' if fits else 'does not fit'}"]
    else:
        fewer = f"{_seeds(last)} do, by {_gibibytes(last.bytes)}" if fits else f"{_seeds(last)} does not either"
        lines = [f"{needed}: does not fit; {fewer}"]
    if last.step is not None and fits:
        step = last.step
        exchanged = f", chips exchange {step.collective_bytes / 1e6:.3g} MB in {step.collectives:.0f}"
        lines.append(
            f"  a step of {_on_a_device(last)}: {step.flops / 1e9:.4g} GFLOP of products, {step.bytes / 1e6:.4g} MB"
            f" moved, at least {1e3 * step.seconds:.3g} ms{exchanged if step.collectives else ''}"
        )
    return lines


def _seeds(trial: Trial) -> str:
    axis = trial.axis
    over = f" over {axis.shards} devices" if axis.shards > 1 else ""
    return f"{axis.members} seed{'s' if axis.members > 1 else ''} at once ({axis.kind}{over})"


def _on_a_device(trial: Trial) -> str:
    members = trial.axis.members // trial.axis.shards
    return f"{members} seeds on a device" if members > 1 else "a seed"


def _gibibytes(number: int) -> str:
    return f"{number / _GIBIBYTE:.3g} GiB"
