"""Programs as real processes that start at once: forked from one that has imported everything and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import quick_compilation

ROOT = Path(__file__).parents[2]
MODULES = (
    *("cifar.selection", "mlp.depths", "bench.parts", "collapse.training", "hashing.report", "hashing.measurements"),
    *(
        "error_by_depth.measure",
        "error_by_depth.report",
        "words.learner",
        "characters.task",
        "runs.compare",
        "runs.presets",
    ),
)
# JAX has no threads yet when it forks: no backend has been made.
_PARENT = f"""
import contextlib, gc, importlib, io, json, os, resource, runpy, signal, sys, time, warnings
import matplotlib.figure, sklearn.datasets, tyro
for module in {MODULES}:
    importlib.import_module("experiments." + module)
warnings.simplefilter("ignore")
# What the first use of a library loads.
with contextlib.suppress(ImportError):
    import jaxlib.mlir.dialects.mhlo
sklearn.datasets.load_digits()
tyro.cli(int, args=["1"])
figure = matplotlib.figure.Figure(layout="constrained")
figure.subplots().plot([0, 1], label="a")
figure.legend()
figure.savefig(io.BytesIO())
gc.freeze()  # or every child would go through all of it at its end
gc.set_threshold(50_000, 20, 100)  # tracing makes many objects and little garbage
for line in sys.stdin:
    command = json.loads(line)
    if "pid" in command:
        deadline = time.monotonic() + command["seconds"]
        pid, status = 0, 0
        while not pid and time.monotonic() < deadline:
            pid, status = os.waitpid(command["pid"], os.WNOHANG)
            time.sleep(0.01)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    for number, path in enumerate(command["outputs"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(command["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test suite in the background ignores Ctrl-C
    if command["largest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (command["largest_file"],) * 2)
    sys.argv = [command["module"], *command["arguments"]]
    runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
    sys.exit()
"""


class Program:
    """One that was started; its `returncode` is None until it has been waited for."""

    def __init__(self, parent: "Forked", pid: int, outputs: list[Path]):
        self.pid, self._parent, self._outputs = pid, parent, outputs
        self.returncode: int | None = None

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return self._outputs[0].read_text()

    @property
    def stderr(self) -> str:
        return self._outputs[1].read_text()

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    def wait(self, seconds: float = 200) -> int:
        """Its exit code, or less than 0 for the signal that ended it."""
        self.returncode = self._parent.ask({"pid": self.pid, "seconds": seconds})
        assert self.returncode is not None, f"still running after {seconds} s: {self.output[-2000:]}"
        return self.returncode


class Forked:
    """Starts programs."""

    def __init__(self, directory: Path):
        self._directory, self._started = directory, 0
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT],
            cwd=ROOT,
            env={**os.environ, **quick_compilation.ENVIRONMENT, "COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self, module: str, *arguments: str, largest_file: int = 0, environment: Mapping[str, str] | None = None
    ) -> Program:
        """`python -m module arguments`, outside a terminal.

        Args:
            module, arguments: of the command.
            largest_file: in bytes, that it can write, if not 0.
            environment: that it has besides the tests'; Python and JAX have read theirs already.
        """
        self._started += 1
        outputs = [self._directory / f"{self._started}-{name}" for name in ("stdout", "stderr")]
        for path in outputs:
            path.touch()
        command = {
            "module": module,
            "arguments": arguments,
            "outputs": list(map(str, outputs)),
            "largest_file": largest_file,
            "environment": environment or {},
        }
        return Program(self, self.ask(command), outputs)

    def run(self, module: str, *arguments: str, **environment: str) -> Program:
        """Starts a program and waits for it."""
        program = self.start(module, *arguments, environment=environment)
        program.wait()
        return program

    def close(self) -> None:
        self._parent.stdin.close()
        self._parent.wait()
        self._parent.stdout.close()

    def ask(self, command: dict) -> int | None:
        self._parent.stdin.write(json.dumps(command) + "\n")
        self._parent.stdin.flush()
        return json.loads(self._parent.stdout.readline())


def assert_usage_error(process: Program, *names: str) -> None:
    """Exit code 2, no traceback, and a message with all of `names`."""
    assert process.returncode == 2, process.output
    assert "Traceback" not in process.output
    assert all(name in process.output for name in names), process.output


def assert_usage_errors(forked: Forked, directory: Path, *commands: tuple[str, ...], **environment: str) -> None:
    """Each command, a module and its arguments, is refused by the flag that comes first, and writes nothing."""
    out = directory / "run"
    for module, *arguments in commands:
        where = () if "--out" in arguments else ("--out", str(out))
        assert_usage_error(forked.run(module, *arguments, *where, **environment), arguments[0])
        assert not out.exists()
