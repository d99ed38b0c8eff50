"""What a program's results depend on: the sources that it imports, within the repository, each as a hash of its code.

A hash is of what the code says, without its comments, docstrings and layout, and the same for all versions of Python.
"""

import ast
import functools
import hashlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path

PACKAGES = ("jaxapprox", "experiments")
_PATH = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?::\w+(?:\.\w+)*)?")
_DIGITS = 16


def sources(root: Path, modules: Collection[str], words: Collection[str] = ()) -> dict[str, str]:
    """The hashes of the modules' sources and of all that they import, by path from the root.

    Followed are imports at the top and within functions, and import paths in strings, by which registries name what
    they hold; what is imported for a type checker is not.

    Args:
        root: of the repository.
        modules: their names; a package stands for its `__main__`.
        words: of a command, in front of its options. Of a registry that has some of them as names these alone are
            followed.

    Raises:
        ValueError: if one of the modules does not exist.
    """
    waiting = [name for module in modules for name in _run_as(root, module)]
    found: dict[str, str] = {}
    seen = set(waiting)
    while waiting:
        path = _file(root, waiting.pop())
        assert path is not None, "only modules that exist are waiting"
        source, package = path.read_bytes(), path.parent.relative_to(root).parts
        chosen = tuple(words) if b"Registry(" in source else ()  # so that most are read once for all commands
        found[path.relative_to(root).as_posix()], imported = _read(source, package, chosen)
        new = {name for module in imported for name in _known(root, module)} - seen
        waiting += sorted(new)
        seen |= new
    return dict(sorted(found.items()))


@functools.cache
def _read(source: bytes, package: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, frozenset[str]]:
    """The hash of a module's code, and what it may import."""
    tree = ast.parse(source)
    return code_hash(tree), frozenset(_imports(tree, package, words))


def code_hash(tree: ast.Module) -> str:
    """A hash of a module's code, docstrings aside, those of attributes too."""
    return hashlib.sha256("".join(_written(tree)).encode()).hexdigest()[:_DIGITS]


def _is_text(node: object) -> bool:
    """Whether a statement does nothing but stand there as a string."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _written(value: object) -> Iterator[str]:
    """A syntax tree as text; fields without a value are left out, as versions of Python differ in which there are."""
    if isinstance(value, ast.AST):
        yield f"{type(value).__name__}("
        for name, field in ast.iter_fields(value):
            if isinstance(value, ast.JoinedStr):  # from Python 3.12 on some end in an empty string
                field = [part for part in field if not isinstance(part, ast.Constant) or part.value != ""]
            if field is not None and field != []:
                yield f"{name}="
                yield from _written(field)
        yield ")"
    elif isinstance(value, list):
        yield "["
        for item in value:
            if not _is_text(item):
                yield from _written(item)
        yield "]"
    else:
        yield f"{value!r},"


def _run_as(root: Path, module: str) -> list[str]:
    """The modules that `python -m` runs."""
    names = _known(root, f"{module}.__main__") or _known(root, module)
    if not names:
        raise ValueError(f"the program must be a module of this repository, got {module}")
    return names


def _known(root: Path, name: str) -> list[str]:
    """A module's name and those of the packages that it is in, if it is in the repository; else none."""
    parts = name.split(".")
    if parts[0] not in PACKAGES or _file(root, name) is None:
        return []
    return [above for n in range(1, len(parts) + 1) if _file(root, above := ".".join(parts[:n])) is not None]


def _file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file()), None)


def _imports(node: ast.AST, package: tuple[str, ...], words: Collection[str]) -> Iterator[str]:
    """The names of modules that code may import; some of them name something else in a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
        base = ".".join(filter(None, (above, node.module)))
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _PATH.fullmatch(node.value):
        yield node.value.partition(":")[0]
    skipped: list[ast.AST] = []
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        skipped = list(node.body)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Registry":
        chosen = [keyword for keyword in node.keywords if keyword.arg in words]
        skipped = [keyword for keyword in node.keywords if chosen and keyword not in chosen]
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _imports(child, package, words)
