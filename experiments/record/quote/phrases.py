"""Numbers in prose: phrases of a page in which each measured number is an expression on a record."""

import dataclasses
import re
import shlex
import tomllib
from pathlib import Path

from experiments.process.errors import UsageError
from experiments.record.quote.measures import MEASURES

NUMBERS = Path("docs/numbers.toml")
"""Of a repository: the phrases, and which numbers of README are no measurements."""

_EXPRESSION = re.compile(r"\{([^{}|]+)\|([^{}|]+)\}")
_NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?"


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A part of a page.

    Attributes:
        text: as on the page, line breaks aside, with `{MEASURE ARGUMENT ...|FORMAT}` for each measured number.
        page: from the root.
    """

    text: str
    page: str = "README.md"

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where its numbers are in the page's text.

        Raises:
            UsageError: if it is not there just once.
        """
        parts = _EXPRESSION.split(self.text.strip())[::3]
        pattern = f"({_NUMBER})".join(r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in parts)
        found = list(re.finditer(pattern, text))
        if len(found) != 1:
            raise UsageError(f"{self.page} must have once, and has {len(found)} times: {self.text.strip()}")
        return [found[0].span(group) for group in range(1, len(parts))]

    def values(self, results: Path) -> list[str]:
        """Its numbers by the records.

        Raises:
            UsageError: if there is no such record or measure.
        """
        return [_said(measure, form, results) for measure, form in _EXPRESSION.findall(self.text)]

    def rewritten(self, text: str, results: Path) -> str:
        """The page's text with its numbers by the records.

        Raises:
            UsageError: As for `spans` and `values`.
        """
        for (start, end), value in reversed(list(zip(self.spans(text), self.values(results), strict=True))):
            text = text[:start] + value + text[end:]
        return text


def read_phrases(root: Path) -> list[Phrase]:
    """Those of a repository; none where it has no such file."""
    path = root / NUMBERS
    return [Phrase(**fields) for fields in tomllib.loads(path.read_text())["phrase"]] if path.exists() else []


def _said(expression: str, form: str, results: Path) -> str:
    name, record, *arguments = shlex.split(expression)
    try:
        value = MEASURES[name](results / record, *arguments)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{{{expression}|{form}}}: {error!r}") from error
    return f"{value:{form}}"
