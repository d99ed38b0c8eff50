"""Where a result comes from: the command, versions, device and revision."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from experiments.process.versions import versions


def environment() -> dict[str, Any]:
    """The command, versions, device and revision that a result comes from, for its record."""
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "command": command(),
        "versions": versions(),
        "device": device_line(),
        "git_revision": git.stdout.strip() or None,
    }


def command() -> str:
    """The command that started this process, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name.removesuffix(".__main__")] if spec is not None else sys.argv[:1]
    return shlex.join(["python", *program, *sys.argv[1:]])


def device_line() -> str:
    """The devices, their backend and the host's cores, in a line."""
    devices = jax.devices()
    host = f"{os.cpu_count()} {platform.machine()} cores"
    return f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()}), {host}"
