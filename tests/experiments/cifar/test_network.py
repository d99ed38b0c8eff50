"""The layers that the network has beside the library's."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments.cifar.network import BatchNorm


def test_batch_norm_is_that_of_flax():
    """Outputs, running statistics and gradients, in training and with running statistics."""
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (4, 3, 3, 5))
    g = jax.random.normal(jax.random.key(1), x.shape)
    for use_running in (False, True):
        ours, theirs = BatchNorm(), nn.BatchNorm(use_running_average=use_running, momentum=0.9)
        variables = theirs.init(jax.random.key(2), x)
        variables = jax.tree.map(lambda a: a + jnp.linspace(0.1, 0.5, 5), variables)

        def ours_of(v, x, ours=ours, use_running=use_running):
            return ours.apply(v, x, use_running=use_running, momentum=0.9, mutable=["batch_stats"])

        def theirs_of(v, x, theirs=theirs):
            return theirs.apply(v, x, mutable=["batch_stats"])

        results = []
        for function in (ours_of, theirs_of):
            (y, updated), pull = jax.vjp(function, variables, x)
            results.append((y, updated, pull((g, jax.tree.map(jnp.zeros_like, updated)))))
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-3), *results)
