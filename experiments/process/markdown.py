"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def row(cells: Sequence[str]) -> str:
    """A line of a table; a "|" within a cell is escaped."""
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table.

    Args:
        header: the columns' titles.
        rows: of as many cells each.

    Raises:
        ValueError: if a row has more or fewer cells than there are columns.
    """
    lines = [row(header), "|---" * len(header) + "|"]
    for cells in rows:
        if len(cells) != len(header):
            raise ValueError(f"rows must have {len(header)} cells, got {len(cells)}: {' | '.join(cells)}")
        lines.append(row(cells))
    return lines
