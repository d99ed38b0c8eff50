"""What the samplers refuse."""

import jax
import jax.numpy as jnp
import pytest

from jaxapprox import SAMPLERS, inclusion_probabilities, topk, uniform

SKEWED = jnp.asarray([5.0, 0.0, 1.0, 0.3, 2.0, 0.1, 0.7, 1.5, 0.0, 0.4], jnp.float32)
BAD = {
    "num_samples zero": (dict(num_samples=0), "num_samples"),
    "num_samples negative": (dict(num_samples=-1), "num_samples"),
    "num_samples above n": (dict(num_samples=11), "num_samples"),
    "num_samples float": (dict(num_samples=3.0), "num_samples"),
    "num_samples bool": (dict(num_samples=True), "num_samples"),
    "num_samples array": (dict(num_samples=jnp.asarray(3)), "num_samples"),
    "scores matrix": (dict(scores=jnp.ones((5, 2))), "scores"),
    "scores scalar": (dict(scores=jnp.ones(())), "scores"),
    "scores empty": (dict(scores=jnp.ones(0)), "scores"),
    "scores list": (dict(scores=[1.0] * 10), "scores"),
    "mix below": (dict(uniform_mix=-0.01), "uniform_mix"),
    "mix above": (dict(uniform_mix=1.01), "uniform_mix"),
    "mix nan": (dict(uniform_mix=float("nan")), "uniform_mix"),
    "mix array": (dict(uniform_mix=jnp.asarray(0.1)), "uniform_mix"),
}


def probabilities(key, *args, **kwargs):
    return inclusion_probabilities(*args, **kwargs)


@pytest.mark.parametrize(
    ("sampler", "case"),
    [
        pytest.param(sampler, case, id=f"{sampler.__name__}-{case}")
        for sampler in (*SAMPLERS.values(), probabilities)
        for case in BAD
        if BAD[case][1] != "uniform_mix" or sampler not in (topk, uniform)  # these two have no such argument
    ],
)
def test_bad_arguments_are_named(sampler, case):
    """Every bad argument is a ValueError that begins with its name."""
    arguments, name = BAD[case]
    arguments = {"scores": SKEWED, "num_samples": 3, **arguments}
    scores, k = arguments.pop("scores"), arguments.pop("num_samples")
    with pytest.raises(ValueError, match=f"^{name} must "):
        sampler(jax.random.key(0), scores, k, **arguments)
