"""Training steps of the programs compiled for a described TPU and counted."""

import jax
from jax.sharding import SingleDeviceSharding
from rich.console import Console

from experiments.bench.chip_trainings import Training, trainings
from experiments.bench.options import Bench
from experiments.bench.tpu_counts import Counted, cells, counted, per_step, table
from experiments.compiler.topology import Topology, shapes_on
from experiments.training.learner import Step


def measure_steps(options: Bench, topology: Topology) -> dict[str, dict[str, Counted]]:
    """The counts of each variant's step, by network."""
    found: dict[str, dict[str, Counted]] = {}
    for training in trainings(options):
        found.setdefault(training.network, {})[training.variant] = _counted(training, topology)
    return found


def show_steps(results: dict[str, dict[str, Counted]], console: Console) -> None:
    """Prints a table of counts."""
    rows = table("Training steps as the programs train", "network", "variant", against="first")
    for network, by_variant in results.items():
        for variant, found in by_variant.items():
            rows.add_row(network, variant, *cells(found, next(iter(by_variant.values()))))
        rows.add_section()
    console.print(rows)


def _counted(training: Training, topology: Topology) -> Counted:
    """The counts of a step, or the mean over a round if its first step is another."""
    learner = training.train.learner
    found = counted(_lowered(training, learner.step, topology), topology)
    if learner.renewal is None:
        return found
    first = counted(_lowered(training, learner.renewal.step, topology), topology)
    return per_step(first, found, learner.renewal.every)


def _lowered(training: Training, step: Step, topology: Topology) -> jax.stages.Lowered:
    """A step, to which a batch is given: what chooses it is no part of it."""
    train = training.train
    state = jax.eval_shape(train.init, jax.random.key(0))
    batch = jax.eval_shape(train.first_batch, state, training.data.train)
    arguments = shapes_on((state, *batch), SingleDeviceSharding(topology.devices[0]))
    return jax.jit(step, donate_argnums=0).lower(*arguments)
