"""The machine that a record is of, and how busy others kept it meanwhile."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from experiments.record.needs import gpus

_STAT, _CPU, _MEMORY = Path("/proc/stat"), Path("/proc/cpuinfo"), Path("/proc/meminfo")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
_IDLE = 3, 4  # columns of /proc/stat: idle, waiting for a disk


def hardware(gpu: bool) -> dict[str, Any]:
    """Processor, memory and, if asked for, GPUs."""
    features = (_field(_CPU, "flags") or "").split()
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _field(_CPU, "model name") or platform.processor() or None,
        "cores": os.cpu_count(),
        "instructions": [name for name in _INSTRUCTIONS if name in features],
        "memory": _field(_MEMORY, "MemTotal"),
    }
    if gpu:
        found["gpus"] = gpus()
    return found


class Load:
    """How many cores were at work on something else since it was made; None where that can't be told."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy(), _own()

    def of_others(self) -> float | None:
        """Cores, as a mean; children that have ended are own work."""
        busy = _busy()
        if busy is None or self._busy is None:
            return None
        seconds = time.monotonic() - self._began
        return max(0.0, (busy - self._busy - (_own() - self._own)) / seconds)


def _busy() -> float | None:
    """Processor seconds of the whole machine."""
    if not _STAT.exists():
        return None
    columns = [int(column) for column in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(columns) - sum(columns[i] for i in _IDLE)) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _field(path: Path, name: str) -> str | None:
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
