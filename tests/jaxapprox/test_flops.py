"""Operations of a program, counted where those of an accelerator would not be."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import experiments
import jaxapprox
from jaxapprox import conv, mc_dense, topk
from jaxapprox.efficiency import flops

X, KERNEL = jnp.zeros((2, 5, 5, 3)), jnp.zeros((3, 3, 3, 4))


def test_a_product():
    assert flops(jnp.matmul, jnp.ones((3, 5)), jax.ShapeDtypeStruct((5, 2), jnp.float32)) == 2 * 3 * 5 * 2


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
def test_platforms(platform):
    """A convolution's gradients take as much each as the convolution, in the form of every platform."""

    def gradients(x, kernel, g):
        return jax.vjp(conv, x, kernel)[1](g)

    once = 2 * 2 * 9 * 3 * 4 * 5 * 5  # less what the padding leaves out
    assert 0.6 * once < flops(conv, X, KERNEL, platform=platform) <= once
    assert 1.2 * once < flops(gradients, X, KERNEL, jnp.zeros((2, 5, 5, 4)), platform=platform) < 2.5 * once


def test_what_a_kernel_computes_is_counted():
    """On a TPU half of the blocks are a kernel's work."""
    x, kernel = jax.ShapeDtypeStruct((64, 512), jnp.float32), jax.ShapeDtypeStruct((512, 256), jnp.float32)

    def half(x, kernel):
        return mc_dense(jax.random.key(0), x, kernel, ratio=0.5, unit="block", sampler=topk)

    exact = flops(jnp.matmul, x, kernel, platform="tpu")
    assert 0.5 * exact < flops(half, x, kernel, platform="tpu") < 0.6 * exact


def test_nothing_else_counts():
    """XLA's own account of what is not compiled yet can't be had on GPUs and TPUs."""
    sources = [
        path for package in (jaxapprox, experiments) for path in Path(package.__path__[0]).rglob("*.py")
        if "cost_analysis(" in path.read_text()
    ]  # fmt: skip
    assert [path.name for path in sources] == ["flops.py"]
