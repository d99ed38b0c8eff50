"""Output layers of 12 classes of 6 features as functions of a key and arrays, for `public_calls`."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxapprox import active_rows, linen, softmax
from jaxapprox import nnx as janx


def exact_softmax(key, x, labels, kernel, bias):
    """With its gradient: it has none in forward mode."""

    def loss(x, kernel, bias):
        return softmax.cross_entropy(x, kernel.T, bias, labels, block_size=5)

    y, pull_back = jax.vjp(loss, x, kernel, bias)
    return y, pull_back(y)


def sampled_softmax(key, x, labels, kernel, bias, proposal):
    candidates = softmax.draw(key, proposal, labels)
    loss, pull_back = softmax.sampled_rows(x, kernel.T, bias, labels, candidates, correct_labels=True)
    dx, gradients = pull_back(loss)
    return loss, dx, active_rows.to_blocks(gradients, 12)


def hashed_softmax(key, x, labels, kernel, bias, tables, proposal):
    own = jax.random.split(key, 3)
    candidates = softmax.with_hits(softmax.draw(own[0], proposal, labels), softmax.hits(own[1], tables, x), 12)
    loss = softmax.sampled_cross_entropy(x, kernel.T, bias, labels, candidates)
    scores, ids = softmax.hashed_top_k(own[2], tables, x, kernel.T, bias, 3, per_bucket=5)
    top = softmax.top_k(x, kernel.T, bias, 3, block_size=5)
    return loss, jnp.exp(scores), ids, top, softmax.evaluate(x, kernel.T, bias, labels, block_size=5)


def linen_softmax(key, x, labels, kernel, bias):
    layer, variables = linen.SampledSoftmaxDense(12, size=4), {"params": {"kernel": kernel, "bias": bias}}
    return layer.apply(variables, x, labels, deterministic=False, rngs={"sample": key})


def nnx_softmax(key, x, labels, kernel, bias):
    def new():
        return janx.SampledSoftmaxDense(6, 12, size=4, rngs=nnx.Rngs(params=0, sample=1), param_dtype=x.dtype)

    layer = nnx.eval_shape(new)
    layer.kernel, layer.bias = nnx.Param(kernel), nnx.Param(bias)
    return layer(x, labels=labels, rngs=key)
