"""Settings shared by all tests: strict about shapes, and nothing random from run to run."""

import hypothesis
import jax
import pytest

from jaxapprox import hashing

jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=30)
hypothesis.settings.load_profile("fixed")


@pytest.fixture(params=["comparison", "buckets"])
def path(request, monkeypatch):
    """Both ways of finding units, whatever the layer's size."""
    monkeypatch.setattr(hashing, "_BUCKETS_FROM_UNITS", 1 if request.param == "buckets" else 1 << 30)
    return request.param
