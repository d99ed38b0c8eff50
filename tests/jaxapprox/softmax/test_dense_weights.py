"""A dense layer's parameters as rows and back."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import vectors

from jaxapprox.softmax import dense_of_rows, rows_of_dense


@pytest.mark.parametrize("names", [("kernel",), ("kernel", "bias")])
def test_there_and_back(names):
    params = {name: jnp.asarray(vectors(0, 3, 7) if name == "kernel" else vectors(1, 1, 7)[0]) for name in names}
    rows = jax.jit(rows_of_dense)(params)
    np.testing.assert_array_equal(rows["weights"], np.asarray(params["kernel"]).T)
    chex.assert_trees_all_equal(dense_of_rows(rows), params)


def test_no_copy_lasts():
    """Of arrays of a shape of its own, one is alive before and one after, there and back; the bias is not copied."""
    params = {"kernel": jnp.ones((3, 1237)), "bias": jnp.zeros(1237)}

    def alive():
        return [array.shape for array in jax.live_arrays() if array.shape in ((3, 1237), (1237, 3))]

    bias = params["bias"]
    params = rows_of_dense(params, delete=True)
    assert alive() == [(1237, 3)]
    params = dense_of_rows(params, delete=True)
    assert alive() == [(3, 1237)]
    assert params["bias"] is bias


def test_bad_params_are_named():
    with pytest.raises(ValueError, match=r"^params must hold kernel, of two axes, got only embedding"):
        rows_of_dense({"embedding": jnp.ones((3, 2))})
    with pytest.raises(ValueError, match=r"^params must hold weights, of two axes, got shape \(3,\)"):
        dense_of_rows({"weights": jnp.ones(3)})
