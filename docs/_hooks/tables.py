"""Cells of tables that hold a sentence are marked, so that a wide table scrolls instead of breaking every word."""

import re

from mkdocs.structure.pages import Page

_CELL = re.compile(r"<td( [^>]*)?>(.*?)</td>", re.DOTALL)
_LONG = 45  # characters


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Gives long cells the class "long"."""
    if page.file.src_uri.startswith("source/"):
        return html

    def marked(match: re.Match[str]) -> str:
        is_long = len(re.sub("<[^>]*>", "", match[2])) > _LONG
        return f'<td class="long"{match[1] or ""}>{match[2]}</td>' if is_long else match[0]

    return _CELL.sub(marked, html)
