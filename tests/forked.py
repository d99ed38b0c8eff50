"""Programs as real processes that start at once: forked from one that has imported everything and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import quick_compilation

ROOT = Path(__file__).parents[1]
# JAX has no threads yet when it forks: no backend has been made.
_PARENT = """
import json, os, resource, runpy, signal, sys, time, warnings
import experiments.cifar, experiments.mlp, sklearn.datasets
warnings.simplefilter("ignore")
for line in sys.stdin:
    command = json.loads(line)
    if "pid" in command:
        deadline = time.monotonic() + command["seconds"]
        pid, status = 0, 0
        while not pid and time.monotonic() < deadline:
            pid, status = os.waitpid(command["pid"], os.WNOHANG)
            time.sleep(0.01)
        print(os.waitstatus_to_exitcode(status) if pid else None, flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    output = os.open(command["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1), os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test suite in the background ignores Ctrl-C
    if command["largest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (command["largest_file"],) * 2)
    sys.argv = [command["module"], *command["arguments"]]
    code = 1
    try:
        runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)
"""


class Forked:
    """Starts programs and waits for them.

    Attributes:
        output: the file that has what the last one printed, in a directory.
    """

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

    def start(self, module: str, *arguments: str, largest_file: int = 0) -> int:
        """The new process's id; it can't write files of more bytes than `largest_file`, if that is not 0."""
        self._started += 1
        self.output = self._directory / str(self._started)
        command = {"module": module, "arguments": arguments, "output": str(self.output), "largest_file": largest_file}
        return self._ask(command)

    def wait(self, pid: int, seconds: float = 200) -> int:
        """Its exit code, or less than 0 for the signal that ended it."""
        code = self._ask({"pid": pid, "seconds": seconds})
        assert code is not None, f"still running after {seconds} s: {self.output.read_text()[-2000:]}"
        return code

    def close(self) -> None:
        self._parent.stdin.close()
        self._parent.wait()
        self._parent.stdout.close()

    def _ask(self, command: dict) -> int | None:
        self._parent.stdin.write(json.dumps(command) + "\n")
        self._parent.stdin.flush()
        return json.loads(self._parent.stdout.readline().replace("None", "null"))
