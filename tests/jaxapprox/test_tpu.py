"""What is compiled for a TPU, where libtpu is installed: kernels as they are, the public functions, a training step."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from public_calls import CALLS, ONE_OF_EACH_KIND

from experiments.bench.random_data import random_digits
from experiments.cifar.config import METHODS, Config
from experiments.cifar.learner import cnn_learner
from experiments.compiler.roofline import count
from experiments.compiler.topology import compiled, describe, shapes_on
from experiments.training.loop import make_train
from jaxapprox import mc_conv, mc_dense, topk


@pytest.fixture(scope="module")
def topology():
    """Four chips; without libtpu the tests that ask for them are skipped."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    return describe("--topology", "v5e:2x2")


def _compile(topology, function, *shapes):
    return compiled(jax.jit(function).lower(*shapes_on(shapes, SingleDeviceSharding(topology.devices[0]))))


def _layer(seed, x, kernel, g, implementation=None):
    """Output and both gradients, from a half of the blocks."""
    function = mc_conv if kernel.ndim == 4 else mc_dense
    options = dict(ratio=0.5, unit="block", implementation=implementation) | (
        {"strides": 2} if kernel.ndim == 4 else {}
    )
    y, pull = jax.vjp(lambda x, kernel: function(jax.random.key(seed), x, kernel, **options), x, kernel)
    return y, *pull(g.astype(y.dtype))


# Odd numbers of examples and outputs; x, kernel, cotangent.
_SHAPES = {
    "matrices": ((77, 512), (512, 200), (77, 200)),
    "convolution": ((19, 6, 4, 512), (3, 3, 512, 72), (19, 3, 2, 72)),
}


def _operands(name, dtype, *leading):
    return [jax.ShapeDtypeStruct((*leading, *shape), dtype) for shape in _SHAPES[name]]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("name", _SHAPES)
def test_kernels_compile(topology, name, dtype):
    """One for each of the three products, with as many operations as XLA's form."""
    seed = jax.ShapeDtypeStruct((), jnp.int32)
    ours, xla = (
        _compile(topology, functools.partial(_layer, implementation=form), seed, *_operands(name, dtype)).as_text()
        for form in ("pallas", "xla")
    )
    assert _kernels(ours) == 3 and _kernels(xla) == 0
    by_ours, by_xla = (count(text, topology.chip).flops for text in (ours, xla))
    assert by_ours == pytest.approx(by_xla, rel=0.02)


def test_seeds_are_an_axis_of_the_grid(topology):
    """Under `vmap` over seeds, each with its sample, there are three kernels and no loop around them."""
    seeds = jax.ShapeDtypeStruct((3,), jnp.int32)
    text = _compile(topology, jax.vmap(_layer), seeds, *_operands("matrices", jnp.bfloat16, 3)).as_text()
    assert _kernels(text) == 3
    loops = re.findall(r"body=%([\w.\-]+)", text)
    assert not any("tpu_custom_call" in text.partition(f"%{body} (")[2].partition("\n}")[0] for body in loops)


def test_several_chips(topology):
    """In `shard_map` a kernel on each; XLA's form where XLA divides the program."""
    mesh, split = Mesh(topology.devices, ("d",)), PartitionSpec("d")

    def layer(x, kernel):
        return jax.value_and_grad(
            lambda x, kernel: mc_dense(jax.random.key(0), x, kernel, ratio=0.5, sampler=topk, unit="block").sum(),
            (0, 1),
        )(x, kernel)

    def of_device(x, kernel):
        value, (dx, dkernel) = layer(x, kernel)
        return value[None], (dx, dkernel)

    shapes = (((64, 512), split), ((512, 128), PartitionSpec()))
    arguments = [jax.ShapeDtypeStruct(n, jnp.bfloat16, sharding=NamedSharding(mesh, spec)) for n, spec in shapes]
    mapped = jax.shard_map(
        of_device, mesh=mesh, in_specs=(split, PartitionSpec()), out_specs=(split, (split, PartitionSpec()))
    )
    for function, kernels in ((layer, 0), (mapped, 3)):
        assert _kernels(jax.jit(function).lower(*arguments).compile().as_text()) == kernels


def test_the_public_functions_compile(topology):
    """One of each kind, in one program."""
    calls = [CALLS[name] for name in ONE_OF_EACH_KIND]

    def each(*arrays):
        return [call.function(jax.random.key(0), *given) for call, given in zip(calls, arrays, strict=True)]

    assert _compile(topology, each, *(call.arrays for call in calls)).as_text()


def test_a_training_step_compiles(topology):
    """Of a residual network, one convolution of which has blocks enough: sampled by kernels."""
    config = Config(width=128, blocks=(1, 1), batch_size=8, unit="block", min_blocks=2, epochs=1, dtype="bfloat16")
    data = random_digits(8)
    train = make_train(config, cnn_learner(config, METHODS["mc"].layers(config), data), data)
    state = jax.eval_shape(train.init, jax.random.key(0))
    batch = jax.eval_shape(train.first_batch, state, data.train)
    assert _kernels(_compile(topology, train.learner.step, state, *batch).as_text()) == 3


def _kernels(text: str) -> int:
    return len(re.findall(r'custom_call_target="tpu_custom_call"', text))
