"""Texts: files, and what comes with Python."""

import gzip
import importlib.util
import zlib
from collections.abc import Iterator
from pathlib import Path

from experiments.process.checks import flag
from experiments.process.errors import UsageError

HELP_TEXTS = "Python's help texts (pydoc_data.topics)"
SOURCES = "the source of modules of Python"
_MODULES = (
    *("argparse", "ast", "dataclasses", "difflib", "doctest", "enum", "imaplib", "inspect", "ipaddress", "logging"),
    *("mailbox", "optparse", "pickle", "pydoc", "shutil", "statistics", "subprocess", "tarfile", "threading"),
    *("turtle", "typing", "zipfile"),
)


def help_texts() -> list[str]:
    """The help texts that come with Python, which differ a little from version to version."""
    from pydoc_data.topics import topics

    return list(topics.values())


def module_sources() -> str:
    """The source of some modules of Python's library, one after another; it differs from version to version.

    Raises:
        UsageError: if this Python came without.
    """
    found = [importlib.util.find_spec(name) for name in _MODULES]
    paths = [Path(spec.origin) for spec in found if spec is not None and spec.origin is not None]
    texts = [path.read_text("utf-8") for path in paths if path.suffix == ".py" and path.exists()]
    if len(texts) < len(_MODULES):
        raise UsageError(f"--pretrain-text must be given, {SOURCES} are {len(texts)} of {len(_MODULES)} here")
    return "\n".join(texts)


def file_lines(path: Path, option: str = "text") -> Iterator[str]:
    """The lines of a UTF-8 file, plain or (named *.gz) compressed, with their ends.

    Raises:
        UsageError: if it can't be read or is no UTF-8; it names the option.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    name = flag(option)
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} must be a UTF-8 file, got {path} ({error.reason} at byte {error.start})") from error
    except (OSError, EOFError, zlib.error) as error:  # the last two of a damaged .gz
        cause = getattr(error, "strerror", None) or error
        raise UsageError(f"{name} must be a readable file, plain or .gz, got {path} ({cause})") from error
