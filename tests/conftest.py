"""Settings shared by all tests: strict about shapes, and nothing random from run to run."""

import gc
import os

import compiled_lsh
import hypothesis
import jax
import pytest
import quick_compilation
from forked import Forked

from jaxapprox._src.hashing import building

os.environ.setdefault("XLA_FLAGS", quick_compilation.FLAGS)  # XLA_FLAGS= for what users have

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(quick_compilation.CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=30)
hypothesis.settings.load_profile("fixed")


def pytest_sessionstart(session):
    if not hasattr(session.config, "workerinput"):
        quick_compilation.forget_old()


def pytest_collection_modifyitems(items):
    """The longest file first, or one process would be at it when the other has nothing left."""
    items.sort(key=lambda item: item.path.name != "test_docstrings.py")


def pytest_collection_finish():
    """Tracing makes many objects and little garbage, which is looked for seldom."""
    gc.set_threshold(50_000, 20, 100)  # gc.freeze() as well would hide from hypothesis what refers to its generators


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """The more programs a process keeps, the longer it takes to compile the next ones."""
    yield
    jax.clear_caches()


@pytest.fixture(params=["comparison", "buckets"])
def path(request, monkeypatch):
    """Both ways of finding units, whatever the layer's size."""
    monkeypatch.setattr(building, "_BUCKETS_FROM_UNITS", 1 if request.param == "buckets" else 1 << 30)
    compiled_lsh.forget()
    yield request.param
    compiled_lsh.forget()


@pytest.fixture(params=["cpu", "accelerator"])
def platform(request, monkeypatch):
    """Both sides of whatever `lax.platform_dependent` chooses between, computed on the CPU."""
    if request.param == "accelerator":
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arguments, default, **_: default(*arguments))
    jax.clear_caches()  # of functions traced with the other side
    yield request.param
    jax.clear_caches()


@pytest.fixture(scope="session")
def forked(tmp_path_factory):
    """Starts programs."""
    programs = Forked(tmp_path_factory.mktemp("output"))
    yield programs
    programs.close()
