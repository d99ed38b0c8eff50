"""Files that are whole at any moment, whatever ends the process."""

import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.process.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_whole(path: Path, content: str | bytes, what: str = "") -> None:
    """Replaces a file in one step, or creates it.

    Args:
        path: of the file.
        content: all of it; text is encoded as UTF-8.
        what: what messages call the file; default its path.

    Raises:
        OutputError: if it can't be written; then the old one stays.
    """
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise OutputError(f"{what or path} could not be written ({error.strerror})") from error


def write_json(path: Path, facts: Any) -> None:
    """`write_whole` of indented JSON; what JSON has no form for is written as its `str`.

    Raises:
        OutputError: As for `write_whole`.
    """
    write_whole(path, json.dumps(facts, indent=1, default=str) + "\n")


def save_figure(path: Path, figure: "Figure") -> None:
    """`write_whole` of a figure, in the format that the path's suffix names.

    Raises:
        OutputError: As for `write_whole`.
    """
    image = io.BytesIO()
    figure.savefig(image, format=path.suffix[1:], dpi=150)
    write_whole(path, image.getvalue())


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Adds lines of JSON: all of them or none.

    Raises:
        OutputError: if they can't be written.
    """
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    try:
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            try:
                # In one call, in which a signal does not find the file half written; a full disk may take a part.
                if file.write(data) != len(data):
                    file.write(data[file.tell() - before :])
            except OSError:
                file.truncate(before)
                raise
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path} could not be written ({error.strerror})") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON in a file, none where there is no file; half a line at its end is cut off.

    Raises:
        ValueError: if another line is damaged.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        write_whole(path, whole)
    return [json.loads(line) for line in whole.splitlines()]
