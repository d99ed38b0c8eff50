"""The examples of the documentation, run: those of the docstrings as doctests, and the pages' blocks of Python."""

import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from pathlib import Path

import pytest

import jaxapprox
import jaxapprox.linen
import jaxapprox.nnx

_ROOT = Path(__file__).parents[1]
_PAGES = [_ROOT / "README.md", *sorted(_ROOT.glob("docs/**/*.md"))]
# Types that others return, take or hold; and samplers, which `systematic` shows.
_WITHOUT_EXAMPLE = {
    *("jaxapprox.Sample", "jaxapprox.Sampler", "jaxapprox.linen.Converted", "jaxapprox.nnx.HashTable"),
    *("jaxapprox.bernoulli", "jaxapprox.importance", "jaxapprox.topk", "jaxapprox.uniform"),
}


def _docstring_examples():
    """The doctests of each module that has any. They bring their own imports, as a reader would need them."""
    names = ["jaxapprox", *(module.name for module in pkgutil.walk_packages(jaxapprox.__path__, "jaxapprox."))]
    found = {name: doctest.DocTestFinder().find(importlib.import_module(name), name, globs={}) for name in names}
    return {name: tests for name, tests in found.items() if any(test.examples for test in tests)}


def _page_blocks():
    """Each block of Python as (its page, a program on the lines that it has there), by page and first line."""
    blocks = {}
    for page in _PAGES:
        text = page.read_text()
        for match in re.finditer(r"^ *```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            before = text[: match.start(1)].count("\n")
            blocks[f"{page.relative_to(_ROOT)}:{before + 1}"] = page, "\n" * before + textwrap.dedent(match[1])
    return blocks


_EXAMPLES = _docstring_examples()
_BLOCKS = _page_blocks()


@pytest.mark.parametrize("module", _EXAMPLES)
def test_examples_of_docstrings(module):
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    for test in _EXAMPLES[module]:
        runner.run(test, out=report.append)
    if report:
        pytest.fail("".join(report), pytrace=False)


def test_the_public_names_have_examples():
    """That are among those which are run."""
    objects = {}
    for api in (jaxapprox, jaxapprox.linen, jaxapprox.nnx):
        exported = {f"{api.__name__}.{name}": getattr(api, name) for name in api.__all__}
        objects |= {name: o for name, o in exported.items() if inspect.isroutine(o) or inspect.isclass(o)}
    run = {test.name for tests in _EXAMPLES.values() for test in tests if test.examples}
    without = {name for name, o in objects.items() if f"{o.__module__}.{o.__qualname__}" not in run}
    assert without == _WITHOUT_EXAMPLE


_REFERENCE = re.compile(r"`(jaxapprox(?:\.\w+)+)[^`]*`")
_SOURCES = [*_PAGES, *sorted((_ROOT / "jaxapprox").rglob("*.py"))]


@pytest.mark.parametrize("source", _SOURCES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_references_name_what_there_is(source):
    """A name such as `jaxapprox.lsh.build` in a docstring, a comment or a page is public, and can be imported."""
    for name in _REFERENCE.findall(source.read_text()):
        assert "._" not in name
        pkgutil.resolve_name(name)


_FACES = ["jaxapprox", *(f"jaxapprox.{m.name}" for m in pkgutil.iter_modules(jaxapprox.__path__) if m.name != "_src")]


@pytest.mark.parametrize("module", _FACES)
def test_public_names_have_docstrings(module):
    """Modules, their functions and classes, and the methods of these."""
    face = importlib.import_module(module)
    things = [getattr(face, name) for name in getattr(face, "__all__", ())]
    things = [thing for thing in things if inspect.isroutine(thing) or inspect.isclass(thing)]
    methods = [
        member
        for thing in things
        if inspect.isclass(thing)
        for name, member in vars(thing).items()
        if inspect.isfunction(member) and not name.startswith("_") and member.__module__.startswith("jaxapprox.")
    ]
    assert [thing for thing in (face, *things, *methods) if not thing.__doc__] == []


def test_all_blocks_are_found():
    assert len(_BLOCKS) == sum(page.read_text().count("```python") for page in _PAGES) > 0


@pytest.mark.parametrize("block", _BLOCKS)
def test_examples_of_pages(block, tmp_path, monkeypatch):
    """Each by itself, as pasted into a new session; a traceback has the page's lines."""
    monkeypatch.chdir(tmp_path)
    page, program = _BLOCKS[block]
    exec(compile(program, str(page), "exec"), {"__name__": "__main__"})
