"""Tables in Markdown."""

import pytest

from experiments.process.markdown import row, table


def test_a_table_has_a_line_for_each_row():
    assert table(("a", ""), [("1", "2"), ("", "4")]) == ["| a |  |", "|---|---|", "| 1 | 2 |", "|  | 4 |"]


def test_bars_within_cells_are_escaped():
    assert row(("|h|", "b")) == r"| \|h\| | b |"


def test_every_row_has_a_cell_for_each_column():
    with pytest.raises(ValueError, match="rows must have 2 cells, got 1: alone"):
        table(("a", "b"), [("alone",)])
