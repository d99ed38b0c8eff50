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
_PAGES = [_ROOT / "README.md", *sorted(_ROOT.glob("docs/*.md"))]
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
            blocks[f"{page.name}:{before + 1}"] = page, "\n" * before + textwrap.dedent(match[1])
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


def test_all_blocks_are_found():
    assert len(_BLOCKS) == sum(page.read_text().count("```python") for page in _PAGES) > 0


@pytest.mark.parametrize("block", _BLOCKS)
def test_examples_of_pages(block, tmp_path, monkeypatch):
    """Each by itself, as pasted into a new session; a traceback has the page's lines."""
    monkeypatch.chdir(tmp_path)
    page, program = _BLOCKS[block]
    exec(compile(program, str(page), "exec"), {"__name__": "__main__"})
