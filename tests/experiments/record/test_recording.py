"""`experiments.record` on a small repository: what it makes, what an interruption or a failure leaves, refusals."""

import json
import os
import signal
import time

import pytest
from forked import ROOT, assert_usage_error
from small_repository import SmallRepository

PROGRAM = "experiments.record"


@pytest.fixture
def repository(tmp_path):
    return SmallRepository(tmp_path)


@pytest.fixture
def run(forked, repository):
    """Runs the program on the repository, and returns its exit code and its lines."""

    def run(*arguments):
        process = forked.run(PROGRAM, *arguments, "--repository", str(repository.root))
        return process.returncode, process.output.splitlines()

    return run


@pytest.fixture
def start(forked, repository):
    """Starts the program, and waits for one of those that it runs to wait."""

    def start(name, *arguments):
        (repository.orders / f"wait-{name}").touch()
        process = forked.start(PROGRAM, *arguments, "--repository", str(repository.root))
        began = time.monotonic()
        while not (repository.orders / f"started-{name}").exists():
            assert time.monotonic() - began < 60, process.output
            time.sleep(0.01)
        return process

    return start


CURRENT = ["first: current", "two/parts: current", "gpu/first: missing (needs a GPU)"]


def test_all_that_is_missing_is_made_once(run, repository):
    """From a worktree of the revision; the record has what it kept, and where it comes from."""
    code, lines = run("--check")
    assert (code, lines) == (1, ["first: missing", "two/parts: missing", "gpu/first: missing (needs a GPU)"])
    code, lines = run("first", "two/parts")
    assert code == 0 and repository.log == ["first", "left", "right"], lines
    assert repository.result("first") == "first 42 worktree"
    assert repository.result("two/parts/left") == "left 42 worktree"
    assert run("--check") == (0, CURRENT)
    here = repository.root / "experiments" / "results" / "first"
    assert {path.name for path in here.iterdir()} == {"result.txt", "record.json"}
    facts = json.loads((here / "record.json").read_text())
    assert facts["commands"] == ["python -m experiments.fast first --out out"] and len(facts["revision"]) == 40
    assert facts["versions"]["jax"] and facts["hardware"]["cores"] == os.cpu_count() and facts["starts"] == 1
    assert set(facts["sources"]) >= {"experiments/fast.py", "jaxapprox/numbers.py"}
    assert not any(str(repository.root.parent) in str(value) for value in facts.values())
    assert run("first", "two/parts")[0] == 0 and repository.log == ["first", "left", "right"]
    assert repository.worktrees() == 1


def test_what_changed_is_made_anew_and_nothing_else(run, repository):
    """By sources and by the command; a worktree has what was committed."""
    run("first", "two/parts")
    repository.replace("experiments/rooms.py", "# a comment", "# another")
    assert run("--check") == (0, CURRENT)
    repository.replace("jaxapprox/numbers.py", "42", "43")
    code, lines = run("--check")
    assert code == 1 and lines[0] == "first: stale: other sources (jaxapprox/numbers.py)"
    assert run("first")[0] == 0 and repository.result("first") == "first 42 worktree"  # not committed yet
    repository.commit()
    assert run("first")[0] == 0 and repository.result("first") == "first 43 worktree"
    repository.replace("experiments/record/manifest.toml", "fast left", "fast above")
    repository.replace("jaxapprox/numbers.py", "43", "42")
    repository.commit()
    assert run("--check")[1][1] == "two/parts: stale: another command"
    assert run("two/parts")[0] == 0 and repository.log[-2:] == ["above", "right"]


def test_the_working_tree_can_be_edited_meanwhile(start, repository):
    process = start("left", "two/parts")
    repository.replace("jaxapprox/numbers.py", "42", "43")
    repository.commit()
    (repository.orders / "wait-left").unlink()
    assert process.wait() == 0
    assert repository.result("two/parts/right") == "right 42 worktree"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_record_is_not_done_and_goes_on(start, run, repository, number):
    """A command that had ended is not run again, the interrupted one is, from its beginning."""
    process = start("right", "two/parts")
    os.kill(process.pid, number)
    assert process.wait() == 128 + number, process.output
    assert run("--check")[1][1] == "two/parts: missing" and repository.worktrees() == 1
    (repository.orders / "wait-right").unlink()
    assert run("two/parts")[0] == 0 and repository.log == ["left", "right"]
    facts = json.loads((repository.root / "experiments/results/two/parts/record.json").read_text())
    assert facts["starts"] == 2


def test_a_program_that_resumes_is_resumed(start, run, repository):
    """By `--resume`, where it has begun; its seeds are in the record, and it never sees a GPU."""
    repository.replace("experiments/record/manifest.toml", '["result.txt"]\nhours = 0.01\n\n', _RESUMED)
    repository.commit()
    process = start("first", "first")
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    (repository.orders / "wait-first").unlink()
    assert run("first")[0] == 0
    here = repository.root / "experiments" / "results" / "first"
    found = json.loads((here / "config.json").read_text())
    assert found["resumed"] and found["platform"] == "cpu"
    assert json.loads((here / "record.json").read_text())["seeds"] == {".": [3, 4]}


_RESUMED = '["*"]\nhours = 0.01\nagain = "resume"\nseconds = true\n\n'


def test_records_are_made_again_where_that_is_asked_for(run, repository):
    """As where the machine was not quiet, which the check says of what pages quote seconds of."""
    repository.replace("experiments/record/manifest.toml", '["result.txt"]\nhours = 0.01\n\n', _RESUMED)
    repository.commit()
    run("first")
    path = repository.root / "experiments" / "results" / "first" / "record.json"
    for quiet, said in ((True, "first: current"), (False, "first: current: others kept 1.5 cores busy")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "quiet": quiet, "cores_of_others": 1.5}))
        assert run("--check", "first") == (0, [said])
    assert run("first")[0] == 0 and repository.log == ["first"]
    assert run("first", "--again")[0] == 0 and repository.log == ["first", "first"]


def test_killed_and_begun_with_other_sources(start, run, repository):
    """What was done by other sources is not gone on with, and what a killed process leaves is in nobody's way."""
    process = start("right", "two/parts")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (repository.orders / "wait-right").unlink()
    repository.replace("jaxapprox/numbers.py", "42", "43")
    repository.commit()
    assert run("two/parts")[0] == 0 and repository.worktrees() == 1
    assert [repository.result(f"two/parts/{side}") for side in ("left", "right")] == [
        "left 43 worktree",
        "right 43 worktree",
    ]


def test_a_failure_leaves_the_old_record_and_the_others_are_made(run, repository):
    run("first")
    repository.replace("jaxapprox/numbers.py", "42", "43")
    repository.commit()
    (repository.orders / "fail-first").touch()
    code, lines = run()
    assert code == 1 and any(line.startswith("error: first: python -m experiments.fast first ") for line in lines)
    assert any(line == "gpu/first is left out: it needs a GPU, H100" for line in lines) or os.path.exists(
        "/dev/nvidia0"
    )
    assert repository.result("first") == "first 42 worktree"
    assert run("--check")[1][:2] == ["first: stale: other sources (jaxapprox/numbers.py)", "two/parts: current"]
    (repository.orders / "fail-first").unlink()
    assert run("first")[0] == 0 and repository.result("first") == "first 43 worktree"


def test_half_a_record_is_none(run, repository):
    """Without its own file, which is written last, or without one that it must have."""
    run("first")
    here = repository.root / "experiments" / "results" / "first"
    facts = (here / "record.json").read_text()
    (here / "record.json").write_text(facts[:-9])
    assert run("--check", "first") == (1, ["first: missing"])
    (here / "record.json").write_text(facts)
    (here / "result.txt").unlink()
    assert run("--check", "first") == (1, ["first: stale: no result.txt"])


def test_killed_between_the_old_record_and_the_new_one(run, repository):
    """The old one is put back."""
    run("first")
    results = repository.root / "experiments" / "results"
    (repository.root / ".recording" / "first").mkdir(parents=True)
    (results / "first").rename(repository.root / ".recording" / "first" / "before")
    (repository.orders / "fail-first").touch()
    run("first")
    assert run("--check", "first") == (0, ["first: current"])


def test_one_process_records_at_a_time(start, run, repository):
    process = start("first", "first")
    code, lines = run("two/parts")
    assert code == 2 and lines[-1].startswith("error: only one process can record into ")
    (repository.orders / "wait-first").unlink()
    assert process.wait() == 0


def test_records_of_before_there_were_hashes_are_stale(run, repository):
    run("first")
    path = repository.root / "experiments" / "results" / "first" / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sources": None}))
    assert run("--check", "first") == (1, ["first: stale: recorded before hashes"])


def test_a_record_of_a_gpu_is_made_there_with_the_cpu_beside_it(forked, repository, tmp_path):
    """Where a program says that there is such a GPU; on the CPU programs count their operations."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559 MiB'\n")
    program.chmod(0o755)
    repository.replace("experiments/record/manifest.toml", '["result.txt"]', '["result.txt", "config.json"]')
    repository.commit()
    path = f"{program.parent}:{os.environ['PATH']}"
    process = forked.run(PROGRAM, "gpu/first", "first", "--repository", str(repository.root), PATH=path)
    assert process.returncode == 0, process.output
    results = repository.root / "experiments" / "results"
    made = [json.loads((results / name / "config.json").read_text())["platform"] for name in ("gpu/first", "first")]
    assert made == ["cuda,cpu", "cpu"]
    facts = json.loads((results / "gpu" / "first" / "record.json").read_text())
    assert facts["hardware"]["gpus"] == ["NVIDIA H100, 81559 MiB"]


def test_refusals(forked, run, repository, tmp_path):
    """Each in one line, with the way out."""
    code, lines = run("magic")
    assert (code, lines) == (2, ["error: a record must be of first, two/parts, gpu/first, got magic"])
    (tmp_path / "empty").mkdir()
    assert_usage_error(forked.run(PROGRAM, "--check", "--repository", str(tmp_path / "empty")), "manifest.toml")
    repository.replace("experiments/record/manifest.toml", 'gpu = "H100"', 'data = ["mnist"]')
    repository.commit()
    process = forked.run(PROGRAM, "gpu/first", "--repository", str(repository.root), TFDS_DATA_DIR="/nowhere")
    assert_usage_error(process, "gpu/first: TFDS_DATA_DIR must be a directory that holds mnist")
    assert process.stderr.count("\n") == 1
    code, lines = run("--again")
    assert code == 2 and lines[0].startswith("error: --again must have the names of records")
    repository.replace("experiments/record/manifest.toml", '"first"', '"two"')
    assert "two must not have other records in its directory" in run("--check")[1][0]


def test_a_program_that_is_gone_is_named(run, repository):
    run("first")
    repository.replace("experiments/record/manifest.toml", "experiments.fast first", "experiments.magic first")
    code, lines = run("--check")
    assert code == 2 and lines[-1].endswith("the program must be a module of this repository, got experiments.magic")


def test_the_projects_records_are_checked(forked):
    """All that were made before there were hashes say so; none is called current without them."""
    process = forked.run(PROGRAM, "--check")
    lines = dict(line.split(": ", 1) for line in process.stdout.splitlines())
    for path in (ROOT / "experiments" / "results").rglob("record.json"):
        facts = json.loads(path.read_text())
        assert facts["name"] == path.parent.relative_to(ROOT / "experiments" / "results").as_posix()
        assert facts["sources"] is not None or lines[facts["name"]].startswith("stale: recorded before hashes")
