"""`experiments.race`: its stages, and the program run as a user runs it."""

import itertools
import json
import pkgutil

import pytest
from forked import assert_usage_error, assert_usage_errors

from experiments.process.errors import UsageError
from experiments.race import predict
from experiments.race.__main__ import main
from experiments.race.clock import Clock
from experiments.race.config import Race
from experiments.race.contest import Contest, batch_sizes
from experiments.race.record import Record
from experiments.race.tasks import EXACT, TASKS, Arm, RaceTask
from experiments.training.method import TrainingMethod

MODULE = "experiments.race"
_STANDARD = {"methods": ("standard",)}
SMALL = RaceTask(
    program="experiments.mlp.config:MLPConfig",
    options={"data": "digits", "layers": (1,), "width": 8, "images": 256},
    arms={
        EXACT: Arm(_STANDARD, (32,)),
        "drop": Arm(_STANDARD, half_of=EXACT),
        "mc": Arm({"methods": ("mc",), "ratios": (0.5,)}, (32,)),
    },
    rates=(1e-3, 1e-2),
    budgets=(0.01, 0.04),
    tune_seconds=0.01,
    held_out={"validation": True},
    reads=("data_dir",),
)


@pytest.fixture
def small(monkeypatch):
    """A task that takes seconds, named small, of which the meter looks at two states."""
    monkeypatch.setitem(TASKS, "small", SMALL)
    monkeypatch.setattr(predict, "_SHARES", (0, 1))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # or JAX would be set to keep programs, for all tests


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def calibrated(path, step_seconds, end_seconds=0.0):
    """A record in which every step takes as long as is said."""
    record = Record(path)
    for name, arm in SMALL.arms.items():
        for size in batch_sizes(SMALL.arms, name):
            key = {"program": arm.program, "batch_size": size}
            if record.calibration.get(**key) is None:
                record.calibration.add({**key, "step_seconds": step_seconds, "end_seconds": end_seconds})
    return record


def test_a_race_is_gone_on_with(small, tmp_path, capsys):
    """Every stage is recorded; what is there is not done again, and what an interruption left out is the same."""
    path = tmp_path / "small"
    path.mkdir()
    calibrated(path, [1e-3, 1e-4, 1e-3])  # no clock: the numbers of steps are the same on every machine
    options = Race(tasks=("small",), seeds=2, out=tmp_path)
    main(options)
    runs = lines(path / "runs.jsonl")
    assert [(run["budget"], run["seed"], run["arm"]) for run in runs] == [
        (budget, seed, arm) for budget in (0.01, 0.04) for seed in (0, 1) for arm in (EXACT, "drop", "mc")
    ]
    assert [run["steps"] for run in runs[::6]] == [10, 40]
    assert [run["batch_size"] for run in runs[:3]] == [32, 16, 32]
    tuned = lines(path / "tuning.jsonl")
    assert [(line["arm"], line["lr"]) for line in tuned] == [(arm, lr) for arm in SMALL.arms for lr in (1e-3, 1e-2)]
    for arm in SMALL.arms:
        best = max((line for line in tuned if line["arm"] == arm), key=lambda line: line["accuracy"])
        assert {run["lr"] for run in runs if run["arm"] == arm} == {best["lr"]}
    predictions = json.loads((path / "predictions.json").read_text())
    assert predictions.keys() == {"drop", "mc"}
    assert [state["seconds"] for state in predictions["mc"]] == pytest.approx([0, 1e-2])
    report = (tmp_path / "race.md").read_text()
    assert report.count("\n| mc |") == 2 and "was predicted rightly" in report
    json.loads((tmp_path / "race.json").read_text(), parse_constant=pytest.fail)  # NaN is not JSON
    assert (path / "accuracy.png").exists() and (tmp_path / "predictions.png").exists()

    before = {name: (path / name).read_bytes() for name in ("predictions.json", "tuning.jsonl", "runs.jsonl")}
    half = b"".join(before["runs.jsonl"].splitlines(keepends=True)[:7])
    (path / "runs.jsonl").write_bytes(half + b'{"arm": "ex')
    capsys.readouterr()
    main(options)
    assert "calibrating" in capsys.readouterr().out
    again = [{**run, "train_seconds": None} for run in lines(path / "runs.jsonl")]
    assert again == [{**run, "train_seconds": None} for run in runs]
    assert all((path / name).read_bytes() == before[name] for name in ("predictions.json", "tuning.jsonl"))

    main(Race(report=True, out=tmp_path))
    assert (tmp_path / "race.md").read_text() == report
    unpaired = [line for line in lines(path / "runs.jsonl") if (line["arm"], line["seed"]) != (EXACT, 0)]
    (path / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in unpaired))
    main(Race(report=True, out=tmp_path))
    assert (tmp_path / "race.md").read_text().count("\n| mc |") == 2, "an arm may have a seed that exact has not"
    with pytest.raises(UsageError, match=r"^--out must be .* tune_seconds 0\.01, got 0\.02$"):
        main(Race(tasks=("small",), tune_seconds=0.02, out=tmp_path))
    record = Record(path)
    with pytest.raises(UsageError, match=r"^--arms must be those of the predictions .* got also alsh"):
        record.predict({"alsh": []})


def test_budgets_are_steps(small, tmp_path):
    """The median over rounds; what comes after the last step is paid first."""
    contest = Contest("small", Race(tasks=("small",)), held_out=False)
    clock = Clock(contest.arms, calibrated(tmp_path, [0.3, 0.1, 0.2], end_seconds=0.5))
    assert clock.steps(EXACT, 32, 1.0) == 2 and clock.steps("drop", 16, 10.6) == 50
    with pytest.raises(UsageError, match=r"of mc with batches of 32, 0\.2 s and 0\.5 s after the last, got 0\.6$"):
        clock.steps("mc", 32, 0.6)
    family = contest.family("mc", 32, (1e-3,), steps=21, seed=3)
    assert (family.config.steps, family.config.epochs, family.config.seed) == (21, 3, 3)  # 8 steps an epoch
    time = clock.step_time(EXACT, (32,))
    assert float(time(32)) == float(time(1)) == 0.2 and len(time.left_out) == 3


def test_tasks_are_what_their_programs_take():
    """Exact training comes first and chooses its batch size, and half of it races too; programs take the options."""
    for task in TASKS.values():
        assert next(iter(task.arms)) == EXACT and len(task.arms[EXACT].batch_sizes) > 1
        assert any(arm.half_of == EXACT for arm in task.arms.values())
        program = pkgutil.resolve_name(task.program)
        for name, arm in task.arms.items():
            sizes = batch_sizes(task.arms, name)
            config = program(**{**task.options, **task.held_out, **arm.changes, "seed_axis": "map"})
            config.check()
            assert sizes and all(isinstance(config.known_methods[m], TrainingMethod) for m in config.methods)
        assert all(later == 4 * sooner for sooner, later in itertools.pairwise(task.budgets))


def test_bad_flags(forked, tmp_path):
    bad = (
        ("--arms", "magic"),
        ("--budgets", "4", "1"),
        ("--budgets", "0"),
        ("--seeds", "0"),
        ("--rounds", "0"),
        ("--tune-seconds", "-1"),
        ("--text", "/nowhere"),
        ("--out", "/proc/nowhere"),
    )
    assert_usage_errors(forked, tmp_path, *((MODULE, *flags) for flags in bad))
    assert_usage_error(forked.run(MODULE, "magic"), "tasks must be of digits, mnist", "got magic")
    assert_usage_error(forked.run(MODULE, "--report", "--out", str(tmp_path / "none")), "--out", "directory of a race")
