"""The notebooks as they lie in git; CI runs them with a kernel: see .ci/run."""

import ast
import json
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "colab"
_NAMES = ("quickstart", "table3", "seed_sweep", "bring_your_own_model", "wide_output")


def _cells(name):
    notebook = json.loads((_FOLDER / f"{name}.ipynb").read_text())
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


def _without_commands(source):
    """Python alone: IPython's commands become a statement that does nothing."""
    lines = source.splitlines()
    return "\n".join(line[: -len(line.lstrip())] + "pass" if line.lstrip()[:1] in "%!" else line for line in lines)


def test_these_are_all():
    assert {path.stem for path in _FOLDER.glob("*.ipynb")} == set(_NAMES)


@pytest.mark.parametrize("name", _NAMES)
def test_a_notebook(name):
    cells = _cells(name)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code), "outputs are stripped"
    assert cells[0]["cell_type"] == "markdown" and cells[0]["source"].startswith("# ")
    assert cells[-1] is code[-1] and cells[-1]["source"].endswith("plt.show()"), "it ends with figures"

    install, *others = [cell["source"] for cell in code]
    assert "if importlib.util.find_spec(" in install and "%pip install" in install
    assert "--upgrade" not in install and "==" not in install, "what Colab ships stays"
    assert not any("pip " in source or line.startswith("!") for source in others for line in source.splitlines())

    trees = [ast.parse(_without_commands(cell["source"])) for cell in code]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    switches = [n for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "QUICK"]
    assert [ast.unparse(n) for n in switches] == ["QUICK = True"]
    assert sum(isinstance(n, ast.Name) and n.id == "QUICK" for n in nodes) > 1, "the switch is used"
    assert 'device.platform == "cpu"' in others[0], "it says when there is only a CPU"
