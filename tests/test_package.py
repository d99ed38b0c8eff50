"""What is released: a wheel and a source distribution, built, checked and installed without the network."""

import ast
import json
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxapprox"
MAY_IMPORT = {"jaxapprox", "jax", "flax", "optax", "numpy", *sys.stdlib_module_names}
# Prints the package's file, its modules, and what importing them all loads that Flax does not load anyway.
IMPORT_ALL = """
import json, pkgutil, sys
import jax, flax.linen, flax.nnx, numpy, optax
before = set(sys.modules)
import jaxapprox, jaxapprox.linen
ours = ["jaxapprox", *(module.name for module in pkgutil.walk_packages(jaxapprox.__path__, "jaxapprox."))]
for name in ours:
    __import__(name)
print(json.dumps([jaxapprox.__file__, ours, sorted(set(sys.modules) - before)]))
"""


def run(*command: str | Path) -> str:
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def sources(folder: Path) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in folder.rglob("*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """The source distribution as "gz", and as "whl" the wheel made from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    files = {path.suffix[1:]: path for path in out.iterdir()}
    assert files.keys() == {"gz", "whl"}
    return files


def test_metadata(built):
    run(sys.executable, "-m", "twine", "check", "--strict", *built.values())


def test_wheel_is_the_package_alone(built):
    """All of it, with the marker of its type hints."""
    with zipfile.ZipFile(built["whl"]) as archive:
        names = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert names == sources(PACKAGE) | {"jaxapprox/py.typed"}


def test_source_distribution(built):
    """Package, experiments and tests, README and licence, and what the documentation site is made of."""
    with tarfile.open(built["gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "mkdocs.yml",
        "pyproject.toml",
        "experiments/cifar/__main__.py",
        "tests/conftest.py",
    }
    assert names >= needed | sources(PACKAGE) | sources(ROOT / "experiments") | sources(ROOT / "tests")


def test_imports_are_declared():
    """Within functions too: the dependencies of `pip install jaxapprox`, and the standard library."""
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    assert "optax" in imported and imported <= MAY_IMPORT


def test_installed_wheel_loads_nothing_else(built, tmp_path):
    """Nor do its modules by way of others, such as the parts of JAX that load SciPy."""
    venv.create(tmp_path, with_pip=False)
    python = tmp_path / "bin" / "python"
    installed = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", installed, built["whl"])
    # The dependencies of these tests, without their .pth files, of which an editable install is one.
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (installed / "dependencies.pth").write_text("".join(f"{path}\n" for path in paths))
    where, modules, loaded = json.loads(run(python, "-I", "-c", IMPORT_ALL))
    assert Path(where).is_relative_to(installed)
    files = {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in sources(PACKAGE)}
    assert set(modules) == files
    assert {name.split(".")[0] for name in loaded} <= MAY_IMPORT | {"jaxlib"}  # a part of JAX
