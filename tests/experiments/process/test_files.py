"""Files that are whole at any moment."""

import json
import os

import pytest
from full_disk import largest_file

from experiments.process.errors import OutputError
from experiments.process.files import append_rows, read_rows, write_whole

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
