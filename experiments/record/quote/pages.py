"""README and docs: what stands between markers, and numbers of phrases, are written from the records.

A marker is `<!-- record: DIRECTORY ... TABLE -->`, the table's lines follow it up to `<!-- end -->`; directories are
those of records, or within them, and `tables.TABLES` has the tables. The phrases are those of `docs/numbers.toml`.
"""

import re
from pathlib import Path

from experiments.process.errors import UsageError
from experiments.process.files import write_whole
from experiments.record.quote.phrases import NUMBERS, read_phrases
from experiments.record.quote.tables import TABLES
from experiments.record.state import RESULTS

_MARKED = re.compile(r"(<!-- record: ([^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def pages(root: Path) -> list[Path]:
    """README and those of docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def rewritten(root: Path, page: Path) -> str:
    """A page as it should be by the records there are.

    Raises:
        UsageError: if a marker names what there is not, or a phrase is not on the page.
    """
    text = _MARKED.sub(lambda found: found[1] + "\n".join([*_table(root, page, found[2]), found[4]]), page.read_text())
    for phrase in read_phrases(root):
        if root / phrase.page == page:
            text = phrase.rewritten(text, root / RESULTS)
    return text


def write_pages(root: Path) -> None:
    """Rewrites all pages that say something else than the records.

    Raises:
        UsageError: As for `rewritten`; then no page is.
        OutputError: if one can't be written.
    """
    if not (root / NUMBERS).exists():
        raise UsageError(f"--repository must have {NUMBERS}, got {root}")
    found = {page: rewritten(root, page) for page in pages(root)}
    for page, text in found.items():
        if text != page.read_text():
            write_whole(page, text)
            print(f"{page.relative_to(root)} is written anew")


def _table(root: Path, page: Path, marker: str) -> list[str]:
    *directories, name = marker.split()
    try:
        return TABLES[name]([root / RESULTS / directory for directory in directories])
    except (LookupError, ValueError) as error:
        raise UsageError(f"{page.name}: <!-- record: {marker} -->: {error!r}") from error
