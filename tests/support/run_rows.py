"""What a run has written."""

import json
from pathlib import Path


def rows_of(out: Path) -> list[dict]:
    """The rows of metrics.jsonl, but for the seconds measured; half a row is no JSON."""
    path = out / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in rows]
