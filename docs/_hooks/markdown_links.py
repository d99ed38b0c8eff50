"""The links of a page of Markdown, code left alone."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

# Code, which is skipped, or the target of a link or a picture.
_PATTERN = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$|(`+)(?!`).+?(?<!`)\2(?!`)|\]\(([^)\s]+)\)", re.MULTILINE | re.DOTALL)


def targets(text: str) -> Iterator[str]:
    """The target of each link."""
    return (match[3] for match in _PATTERN.finditer(text) if match[3])


def replaced(text: str, new_target: Callable[[str], str]) -> str:
    """The page with other targets."""
    return _PATTERN.sub(lambda match: f"]({new_target(match[3])})" if match[3] else match[0], text)


def path_of(target: str, page: Path) -> Path | None:
    """The file that a link leads to from the page at this path; None for another site and for the page itself."""
    name = target.partition("#")[0]
    return None if "://" in target or target.startswith("mailto:") or not name else (page.parent / name).resolve()
