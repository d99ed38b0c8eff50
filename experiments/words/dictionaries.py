"""Makes a text of two English dictionaries from the unpacked Debian packages dict-gcide and wordnet-base.

python -m experiments.words.dictionaries FOLDER OUT

FOLDER holds usr/share/dictd/gcide.dict.dz and usr/share/wordnet/data.*. Each paragraph of the one of 8 words or more,
and each gloss of the other of 5 or more, becomes a line of OUT (.txt.gz): lower-case words, letters a to z only.
"""

import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from experiments.process.errors import UsageError
from experiments.process.exits import run
from experiments.process.files import write_whole

_GCIDE = Path("usr/share/dictd/gcide.dict.dz")
_WORDNET = Path("usr/share/wordnet")
_PARTS = ("noun", "verb", "adj", "adv")


def main(arguments: list[str]) -> None:
    """Writes the text; the same packages give the same file, to the byte.

    Raises:
        UsageError: unless there are two arguments and the packages' files are in the folder.
        OutputError: if the file can't be written.
    """
    if len(arguments) != 2:
        raise UsageError(f"FOLDER and OUT are needed, got {' '.join(arguments) or 'nothing'}")
    folder, out = map(Path, arguments)
    lines = [*_lines(_paragraphs(folder / _GCIDE), 8)]
    for part in _PARTS:
        lines += _lines(_glosses(folder / _WORDNET / f"data.{part}"), 5)
    content = io.BytesIO()
    with gzip.GzipFile(out.name, "wb", compresslevel=9, fileobj=content, mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())
    write_whole(out, content.getvalue())
    print(f"{len(lines)} lines, {sum(line.count(' ') + 1 for line in lines)} words in {out}")


def _paragraphs(path: Path) -> Iterator[str]:
    try:
        text = gzip.decompress(_read(path)).decode("utf-8", "ignore")
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"FOLDER must hold a sound {_GCIDE}, got {path} ({error})") from error
    yield from re.split(r"\n\s*\n", text)


def _glosses(path: Path) -> Iterator[str]:
    for line in _read(path).decode("utf-8", "ignore").splitlines():
        if not line.startswith("  "):  # as the licence does, which comes first
            yield line.partition("|")[2]


def _lines(units: Iterator[str], least: int) -> Iterator[str]:
    for unit in units:
        words = re.findall("[a-z]+", unit.lower())
        if len(words) >= least:
            yield " ".join(words)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"FOLDER must hold the unpacked packages, got no {path} ({error.strerror})") from error


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
