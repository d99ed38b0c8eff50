"""A git repository with a small manifest of fast programs, to record in."""

import subprocess
from pathlib import Path

_MANIFEST = """
[[record]]
name = "first"
commands = ["python -m experiments.fast first --out out"]
files = ["result.txt"]
hours = 0.01

[[record]]
name = "two/parts"
commands = [
  "python -m experiments.fast left --out out/left",
  "python -m experiments.fast right --out out/right",
]
files = ["**/result.txt"]
hours = 0.01

[[record]]
name = "gpu/first"
commands = ["python -m experiments.fast gpu --out out"]
files = ["result.txt"]
hours = 0.01
gpu = "H100"
"""
# Says where it runs and what it computed; waits or fails if told to by a file beside the repository.
_FAST = '''
"""Fast."""
import json, os, pathlib, sys, time

def main():
    """Writes its result."""
    from experiments.rooms import answer  # within a function
    resumed = sys.argv[1] == "--resume"
    out = pathlib.Path(sys.argv[-1])
    options = out / "config.json"
    name = json.loads(options.read_text())["name"] if resumed else sys.argv[1]
    platform = os.environ["JAX_PLATFORMS"]
    config = {"seed": 3, "seeds": 2}
    options.write_text(json.dumps({"config": config, "name": name, "platform": platform, "resumed": resumed}))
    orders = pathlib.Path(CONTROL)
    (orders / f"started-{name}").touch()
    (out / "checkpoint").write_text("large")
    while (orders / f"wait-{name}").exists():
        time.sleep(0.01)
    if (orders / f"fail-{name}").exists():
        sys.exit(3)
    (out / "result.txt").write_text(f"{name} {answer()} {pathlib.Path.cwd().name}")
    with (orders / "log").open("a") as log:
        log.write(f"{name}\\n")

if __name__ == "__main__":
    main()
'''
_ROOMS = '''
"""Rooms."""
import jaxapprox.numbers

def answer():
    """The answer."""
    return jaxapprox.numbers.NUMBER  # a comment
'''


class SmallRepository:
    """A repository whose records are made by `experiments/fast.py`.

    Attributes:
        root: of it.
        orders: a directory whose files tell its programs what to do: `wait-NAME`, `fail-NAME`.
    """

    def __init__(self, directory: Path):
        self.root, self.orders = directory / "repository", directory / "orders"
        self.orders.mkdir()
        self.write("experiments/record/manifest.toml", _MANIFEST)
        self.write("experiments/__init__.py", "")
        self.write("experiments/fast.py", _FAST.replace("CONTROL", repr(str(self.orders))))
        self.write("experiments/rooms.py", _ROOMS)
        self.write("experiments/unrelated.py", "")
        self.write("jaxapprox/__init__.py", "")
        self.write("jaxapprox/numbers.py", "NUMBER = 42\n")
        self.write(".gitignore", "/experiments/results/\n/.recording/\n")
        self._git("init", "--quiet")
        self.commit()

    def write(self, name: str, content: str) -> None:
        """Makes or replaces a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def replace(self, name: str, old: str, new: str) -> None:
        """Edits a file."""
        content = (self.root / name).read_text()
        assert old in content
        self.write(name, content.replace(old, new))

    def commit(self) -> None:
        """Commits all files."""
        self._git("add", "--all")
        self._git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "A change")

    def result(self, name: str) -> str:
        """What a record holds."""
        return (self.root / "experiments" / "results" / name / "result.txt").read_text()

    @property
    def log(self) -> list[str]:
        """The programs that ended well, in order."""
        path = self.orders / "log"
        return path.read_text().split() if path.exists() else []

    def worktrees(self) -> int:
        """How many there are, the repository included."""
        return self._git("worktree", "list").count("\n")

    def _git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True).stdout
