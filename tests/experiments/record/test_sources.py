"""What a program's results depend on: its own code and what it imports, and nothing else."""

import ast

import pytest
from forked import ROOT
from small_repository import SmallRepository

from experiments.record.manifest import read_manifest
from experiments.record.sources import code_hash, sources


@pytest.fixture
def repository(tmp_path):
    return SmallRepository(tmp_path)


def hashes(repository, *words):
    return sources(repository.root, ["experiments.fast"], words)


def test_imports_are_followed_into_functions_and_packages(repository):
    names = ["experiments/__init__.py", "experiments/fast.py", "experiments/rooms.py"]
    assert list(hashes(repository)) == [*names, "jaxapprox/__init__.py", "jaxapprox/numbers.py"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("experiments/rooms.py", "# a comment", "# another one\n"),
        ("experiments/rooms.py", '"""Rooms."""', ""),
        ("experiments/rooms.py", '"""The answer."""', '"""Of all questions."""\n'),
        ("experiments/fast.py", "pathlib, sys, time", "pathlib, sys, time\n\n\n"),
        ("jaxapprox/numbers.py", "NUMBER = 42", 'NUMBER = 42\n"""It is even."""'),
        ("experiments/unrelated.py", "", "import experiments.fast\nprint(1)\n"),
        (".gitignore", "/", "#"),
    ],
)
def test_what_changes_no_result_changes_no_hash(repository, name, old, new):
    before = hashes(repository)
    repository.replace(name, old, new)
    assert hashes(repository) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("experiments/fast.py", "orders /", "orders  . joinpath() /"),
        ("experiments/rooms.py", "NUMBER", "NUMBER + 0"),
        ("jaxapprox/numbers.py", "42", "43"),
        ("jaxapprox/__init__.py", "", "x = 1"),
    ],
)
def test_code_changes_the_hash_of_its_file_alone(repository, name, old, new):
    before = hashes(repository)
    repository.replace(name, old, new)
    after = hashes(repository)
    assert before.keys() == after.keys()
    assert [path for path in after if after[path] != before[path]] == [name]


@pytest.mark.parametrize("text", ['f"{n:.2f}"', 'f"{n} of {m:>{w}}"'])
def test_f_strings_that_end_in_an_empty_string_as_from_python_3_12_on_have_the_same_hash(text):
    old, new = ast.parse(text), ast.parse(text)
    for node in ast.walk(new):
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(""))
    assert ast.dump(new) != ast.dump(old)
    assert code_hash(new) == code_hash(old) != code_hash(ast.parse("''"))


_REGISTRY = """
from typing import TYPE_CHECKING
from jaxapprox.registry import Registry
if TYPE_CHECKING:
    import experiments.unrelated
else:
    from . import rooms
PARTS = Registry("part", left="experiments.left:measure", right="experiments.right")
"""


def test_registries_name_modules_of_which_words_choose(repository):
    """Import paths in strings count; of a registry whose names are given as words, those of these alone."""
    repository.write("experiments/fast.py", _REGISTRY)
    for side in ("left", "right"):
        repository.write(f"experiments/{side}.py", "def measure(): ...")

    def sides(*words):
        return {path.removeprefix("experiments/")[:-3] for path in hashes(repository, *words)} - {"__init__", "fast"}

    assert sides() == {"rooms", "left", "right", *sides("left")}
    assert "right" not in sides("left", "other") and "left" in sides("left", "other")
    assert "unrelated" not in sides()


def test_a_package_stands_for_its_main(repository):
    repository.write("experiments/program/__init__.py", "")
    repository.write("experiments/program/__main__.py", "from experiments.program.part import x")
    repository.write("experiments/program/part.py", "x = 1")
    names = ["experiments/__init__.py", *(f"experiments/program/{n}.py" for n in ("__init__", "__main__", "part"))]
    assert list(sources(repository.root, ["experiments.program"])) == names
    with pytest.raises(ValueError, match=r"^the program must be a module of this repository, got experiments\.magic$"):
        sources(repository.root, ["experiments.magic"])


def test_the_projects_programs():
    """Each command of the manifest has its program's sources, with what it uses of the library, and no other part's."""
    manifest = read_manifest(ROOT)
    found = {name: entry.sources(ROOT) for name, entry in manifest.items()}
    assert (
        "experiments/bench/mlp_step.py" in found["bench/mlp"] and "experiments/bench/tpu.py" not in found["bench/mlp"]
    )
    assert "experiments/bench/peers/torch_mlp.py" in found["bench/mlp"]
    assert "experiments/cifar/methods.py" in found["quick"] and "jaxapprox/_src/linen/sampled_conv.py" in found["quick"]
    assert not any(path.startswith(("experiments/mlp", "experiments/record")) for path in found["quick"])
    assert "experiments/words/learner.py" in found["race"]
