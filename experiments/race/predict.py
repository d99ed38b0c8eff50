"""What the meter says of each arm, at states that exact training passes: before the race, on the data of trials."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.race.clock import Clock
from experiments.race.config import TRIAL_SEED
from experiments.race.contest import Choice, Contest, batch_sizes
from experiments.race.record import Record
from experiments.race.tasks import EXACT
from experiments.seeds.axis import SeedAxis
from experiments.seeds.compiled import compile_training
from experiments.seeds.segments import chunks, next_segment, numbered_seeds
from experiments.seeds.settings import Family
from experiments.training.learner import Learner, State
from jaxapprox.efficiency import efficiency, gradient_noise

_SHARES = (0, 1 / 16, 1 / 4, 1)  # of exact training's trial, after which the meter looks
_EXAMPLES, _FEWEST_GROUPS, _MOST_GROUPS = 1_024, 4, 64
_MOST_NUMBERS = 1 << 28  # of one kind of gradients of all groups, which are kept at once
_SIZES, _LARGEST = (16, 64), 256  # batches of an arm that may choose their size, and at most


def predict(contest: Contest, record: Record, clock: Clock, chosen: dict[str, Choice], seconds: float) -> None:
    """Measures the efficiency of all arms that `record` has no prediction of, and keeps it.

    Args:
        contest: for trials.
        record: of the race.
        clock: for the seconds of a step.
        chosen: by tuning, by arm.
        seconds: of the exact trial whose states are looked at.

    Raises:
        UsageError: if there are such arms, and a run of the race was made.
        OutputError: if predictions can't be written.
    """
    missing = [name for name in contest.arms if name != EXACT and name not in record.predictions]
    if not missing:
        return
    choice = chosen[EXACT]
    steps = clock.steps(EXACT, choice.batch_size, seconds)
    family = contest.family(EXACT, choice.batch_size, (choice.lr,), steps, TRIAL_SEED)
    exact = _learner(contest, family)
    examples = _examples(contest, exact, choice.batch_size)
    states = list(_states(contest, family, [round(share * steps) for share in _SHARES]))
    each = clock.step_seconds(EXACT, choice.batch_size)
    found: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(missing):
        meter = _Meter(contest, clock, exact, examples, name, chosen[name])
        found[name] = []
        for step, at in states:
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(TRIAL_SEED), number), step)
            found[name].append({"seconds": step * each, **meter.measured(key, at)})
        values = (f"{line['value']:.3g}" for line in found[name])
        print(f"{name}: predicted {', '.join(values)} times exact's progress on its way", flush=True)
    record.predict(found)


class _Meter:
    """The meter of one arm."""

    def __init__(self, contest: Contest, clock: Clock, exact: Learner, examples: Any, arm: str, choice: Choice):
        learner = _learner(contest, contest.family(arm, choice.batch_size, (choice.lr,)))
        first_exact, first, self._examples = _first(exact), _first(learner), examples
        self._ladder, own = (batch_sizes(contest.arms, name) for name in (EXACT, arm))
        self._fixed = None if len(contest.arms[arm].batch_sizes) > 1 else choice.batch_size
        self._exact_time = clock.step_time(EXACT, self._ladder)
        self._sampled_time = clock.step_time(arm, own if self._fixed is None else (self._fixed,))

        def exact_gradient(params: Any, batch: Any) -> Any:
            state = exact.with_params(first_exact, params["params"], params["batch_stats"])
            return _zeros(params) | {"params": exact.gradient(state, *batch)}

        def sampled_gradient(key: jax.Array, params: Any, batch: Any) -> Any:
            state = learner.with_params(first._replace(key=key), params["params"], params["batch_stats"])
            return _zeros(params) | {"params": learner.gradient(state._replace(tables=params["tables"]), *batch)}

        self._gradients = exact_gradient, sampled_gradient

        def tables(params: Any, train: Any) -> Any:
            state = learner.with_params(first, params["params"], params["batch_stats"])
            batch = learner.feed.batches(state, train, jnp.int32(0))(jnp.int32(0))
            return learner.step(state, *batch)[0].tables

        self._tables, self._train = jax.jit(tables), contest.task.data.train

    def measured(self, key: jax.Array, at: Any) -> dict[str, Any]:
        """The arm's efficiency at a state of exact training, and what the meter says of it.

        Exact training is at its best batch size of those that it may choose, and so is the arm, or at its own. Tables,
        if there are any, are as a step there leaves them.
        """
        small, large = _SIZES
        if self._fixed is not None:  # there it is measured, elsewhere extrapolated
            large = min(max(self._fixed, 4), _LARGEST)
            small = large // 4
        params = {**at, "tables": self._tables(at, self._train)}
        fit = _MOST_NUMBERS // sum(leaf.size for leaf in jax.tree.leaves(params))
        groups = min(_EXAMPLES // large, max(_FEWEST_GROUPS, min(_MOST_GROUPS, fit)))
        examples = jax.tree.map(lambda a: a[: groups * large], self._examples)
        with np.errstate(divide="ignore", invalid="ignore"):  # of statistics and tables, whose gradient is 0
            noise = gradient_noise(key, *self._gradients, params, examples, sizes=(small, large))
        found = efficiency(noise, self._exact_time, self._sampled_time, self._ladder)
        value, low, high = found.at(self._fixed)
        return {"value": value, "low": low, "high": high, "says": str(found).splitlines()}


def _zeros(tree: dict[str, Any]) -> dict[str, Any]:
    """The gradient in what does not learn by one: statistics and tables."""
    return jax.tree.map(jnp.zeros_like, tree)


def _learner(contest: Contest, family: Family) -> Learner:
    config = family.example
    return contest.task.make_learner(config, family.method.layers(config))


def _first(learner: Learner) -> State:
    return jax.jit(learner.init)(*jax.random.split(jax.random.key(TRIAL_SEED)))


def _examples(contest: Contest, exact: Learner, batch_size: int) -> Any:
    """The first batches of exact training, as one."""
    train = contest.task.data.train
    count = min(math.ceil(_EXAMPLES / batch_size), int(exact.feed.steps[0]))

    def batches(state: State) -> Any:
        take = exact.feed.batches(state, train, jnp.int32(0))
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.lax.map(take, jnp.arange(count)))

    return jax.jit(batches)(_first(exact))


def _states(contest: Contest, family: Family, steps: list[int]) -> Iterator[tuple[int, Any]]:
    """Parameters and statistics after each of these numbers of steps, which increase, the last one at the end."""
    axis = SeedAxis("map", 1)
    training = compile_training(family, contest.task, axis)
    (chunk,) = chunks(family, numbered_seeds(family.config), axis)
    hyperparameters = axis.put(chunk.hyperparameters, by_seed=True)
    state, train = training.init(chunk.hyperparameters, chunk.keys), contest.task.data.train
    total = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), training.total)
    begins = np.cumsum([0, *training.one.learner.feed.steps]).tolist()
    cuts, done = sorted({*steps, *begins}), 0
    for cut in cuts:
        if cut > done:
            epoch = int(np.searchsorted(begins, done, side="right")) - 1
            first, rounds = begins[epoch], training.one.rounds[epoch]
            rounds, span, _ = next_segment(rounds, 0, done - first, cut - done)
            arguments = axis.put((np.int32(first), rounds, span), by_seed=False)
            state, total = training.segment(hyperparameters, state, total, train, *arguments)
            done = cut
        if cut in steps:
            yield cut, jax.device_get({name: _of_one(getattr(state, name)) for name in ("params", "batch_stats")})


def _of_one(tree: Any) -> Any:
    """Without the axis of seeds."""
    return jax.tree.map(lambda a: a[0], tree)
