"""Files that are whole at any moment."""

import json
import os
from pathlib import Path

import pytest
from full_disk import largest_file
from matplotlib.figure import Figure

from experiments.process.errors import OutputError
from experiments.process.files import append_rows, read_rows, save_figure, write_json, write_whole

ROWS = [{"seed": seed, "text": "x" * 50} for seed in range(3)]


def test_rows_are_added_whole_or_not_at_all(tmp_path):
    """A write that breaks off within a row leaves the rows before it, and the next one goes on from there."""
    path = tmp_path / "rows"
    append_rows(path, ROWS[:1])
    size = path.stat().st_size
    for limit in (size, size + 10, 2 * size + 10):
        with largest_file(limit), pytest.raises(OutputError, match="rows could not be written"):
            append_rows(path, ROWS[1:])
        assert read_rows(path) == ROWS[:1] and path.stat().st_size == size
    append_rows(path, ROWS[1:])
    assert read_rows(path) == ROWS


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_whole(path, b"before")
    with largest_file(10), pytest.raises(OutputError, match="file could not be written"):
        write_whole(path, "after" * 10)
    assert path.read_text() == "before"
    write_whole(path, "after")
    assert path.read_text() == "after"
    with pytest.raises(OutputError, match=r"^the summary could not be written \(No such file or directory\)$"):
        write_whole(tmp_path / "nowhere" / "file", "", "the summary")


def test_a_figure_is_replaced_whole_or_not_at_all(tmp_path):
    path, figure = tmp_path / "figure.png", Figure()
    save_figure(path, figure)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG") and b"IEND" in before[-12:]
    figure.subplots()
    with largest_file(1000), pytest.raises(OutputError, match=r"figure\.png could not be written"):
        save_figure(path, figure)
    assert path.read_bytes() == before
    save_figure(path, figure)
    assert path.read_bytes() != before


def test_json_has_paths_as_text(tmp_path):
    write_json(tmp_path / "facts", {"out": Path("a") / "b", "values": (1, None)})
    assert json.loads((tmp_path / "facts").read_text()) == {"out": "a/b", "values": [1, None]}


def test_half_a_line_is_cut_off_and_a_damaged_one_is_not_hidden(tmp_path):
    path = tmp_path / "rows"
    assert read_rows(path) == []
    append_rows(path, ROWS)
    with path.open("a") as file:
        file.write(json.dumps(ROWS[0])[:20])
    assert read_rows(path) == ROWS
    assert path.read_text().count("\n") == 3 and path.read_text().endswith("\n")
    path.write_text("{ no row\n" + path.read_text())
    with pytest.raises(ValueError, match="Expecting"):
        read_rows(path)
    assert not os.path.exists(path.with_name("rows.new"))
