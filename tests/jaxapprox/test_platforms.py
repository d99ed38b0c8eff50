"""Public functions and their gradients, lowered for accelerators, of which none is needed for that."""

import jax
import pytest
from jax import export
from public_calls import CALLS, with_gradients


@pytest.mark.parametrize("name", CALLS)
def test_lowered(name):
    call = CALLS[name]
    exported = export.export(jax.jit(with_gradients(call)), platforms=["cuda", "rocm", "tpu"])(
        jax.random.key(0), *call.arrays
    )
    assert exported.platforms == ("cuda", "rocm", "tpu")
