"""Docstrings, which are plain text for `help`, as Markdown: examples as code, formulas as they are written by hand."""

import re
from typing import Any

import griffe

_SYMBOLS = {
    r"\\hat y": "ŷ",
    r"\\sqrt\{([^}]*)\}": r"√(\1)",
    r"\\sqrt (\w)": r"√\1",
    r"\\sum(?=_)": "Σ",
    r"\\sum ": "Σ ",
    r"\\otimes": "⊗",
    r"\\leftarrow": "←",
    r"\\Sigma": "Σ",
    r"\\tr ": "tr ",
    r"\\_": "_",
    r"\bpi(?=_\w\b)": "π",
    r"\^2\b": "²",
}
_CODE = re.compile(r"(`[^`]*`)")
_SEVERAL = re.compile(r"^    ((?:\*{0,2}\w+, )+\*{0,2}\w+)(: .*(?:\n {5,}.*)*)", re.MULTILINE)
_PUBLIC = re.compile(r"`(jaxapprox(?:\.\w+)+)(\([^`]*\))?`")


def to_markdown(text: str) -> str:
    """A docstring in which Markdown shows what is meant: doctests, indented formulas and signs."""
    lines: list[str] = []
    indent = None  # of the example that the line is in
    for line in _SEVERAL.sub(_one_by_one, text).split("\n"):
        if indent is None and line.lstrip().startswith(">>>"):
            indent = line[: -len(line.lstrip())]
            lines += ["", f"{indent}```pycon"]
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(_prose(line) if indent is None else line)
    return "\n".join(lines if indent is None else [*lines, f"{indent}```"])


def _one_by_one(match: re.Match[str]) -> str:
    """Arguments that share a description, each with it: then each has its own type and default."""
    return "\n".join(f"    {name}{match[2]}" for name in match[1].split(", "))


def _prose(line: str) -> str:
    """A line outside of examples: signs for TeX's commands, names that lead to the reference, no tags by accident."""
    parts = _CODE.split(line)
    for i in range(0, len(parts), 2):
        for command, symbol in _SYMBOLS.items():
            parts[i] = re.sub(command, symbol, parts[i])
        if not line.startswith(" "):
            parts[i] = re.sub(r"<(?=\w)", "&lt;", parts[i])
    return _PUBLIC.sub(r'<autoref identifier="\1" optional><code>\1\2</code></autoref>', "".join(parts))


class Docstrings(griffe.Extension):
    """Rewrites every docstring, once, and gives `jaxapprox` itself the names that it imports on first use."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        self.on_object(obj=pkg)
        pkg.exports = list(pkg["_src.api"].exports)
