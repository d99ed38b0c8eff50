"""Programs that are really compiled for a described TPU, where libtpu is installed: counted as what must be done."""

import dataclasses
import functools
import importlib.util

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas as pl
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from experiments.compiler.chips import CHIPS, check_topology
from experiments.compiler.roofline import Count, count, count_turn
from experiments.compiler.topology import DoesNotFit, Topology, compiled, describe, memory_bytes, shapes_on
from experiments.process.errors import UsageError

_SQUARE = jax.ShapeDtypeStruct((4096, 4096), jnp.bfloat16)
_PRODUCT, _BYTES = 2 * 4096**3, 3 * 2 * 4096**2


@pytest.fixture(scope="module")
def topology():
    """Four chips; without libtpu the tests that ask for them are skipped."""
    pytest.importorskip("libtpu", reason="libtpu, which compiles for TPUs, is not installed")
    return describe("--topology", "v5e:2x2")


def compile_on(topology: Topology, function, *shapes) -> jax.stages.Compiled:
    arguments = shapes_on(shapes, SingleDeviceSharding(topology.devices[0]))
    return compiled(jax.jit(function).lower(*arguments))


def test_topologies_by_name(topology):
    """The chips of each kind, and what one of them has."""
    assert topology.name == "v5e:2x2" and len(topology.devices) == 4
    assert topology.chip == CHIPS["v5e"]
    sides = describe("--compile-for", "tpu:v4:2x2x1", "tpu:")
    assert len(sides.devices) == 8 and sides.chip.memory == CHIPS["v4"].memory // 2  # two of a chip's cores
    with pytest.raises(UsageError, match=r"^--topology must be a topology such as v5e:2x2, got v5e:3x3 \(.*\)$"):
        describe("--topology", "v5e:3x3")


@pytest.mark.parametrize(
    "name", ["v9:2x2", "v5e", "v5e:", "v5e:2x2x1", "v5e:0x2", "v5e:64x64", "v5p:2x2", "v5e:2x2 ", "tpu:v5e:2x2", ""]
)
def test_names_of_no_topology_are_refused(name):
    """Before XLA sees them, which ends the process for some; with examples of those that exist."""
    with pytest.raises(UsageError) as refused:
        check_topology("--topology", name)
    assert str(refused.value) == (
        "--topology must be a generation of TPUs and the sides of a topology (v5e:2x2, v5p:2x2x1, v6e:2x2, v4:2x2x1),"
        f" got {name}"
    )


def test_libtpu_must_be_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^--topology needs libtpu, .*: pip install 'jaxapprox\[tpu\]'$"):
        check_topology("--topology", "v5e:2x2")


def test_a_product_moves_its_operands_and_its_result(topology):
    """101 MB and 137.4 GFLOP, where XLA's own account says 235 MB."""
    program = compile_on(topology, jnp.matmul, _SQUARE, _SQUARE)
    found = count(program.as_text(), topology.chip)
    assert found.flops == _PRODUCT == program.cost_analysis()["flops"]
    assert found.bytes == pytest.approx(_BYTES, rel=0.01)
    least = max(_PRODUCT / topology.chip.flops_per_second, _BYTES / topology.chip.bytes_per_second)
    assert least <= found.seconds < 1.1 * least
    assert memory_bytes(program) == pytest.approx(_BYTES, rel=0.01)
    assert (found.unknown_loops, found.collectives) == (0, 0) and found.estimated_cycles > 0


def test_loops_of_products(topology):
    """Ten turns count ten times one; as many as an argument says count once, and a turn by itself is a product."""

    def repeated(turns, a, b):
        return lax.fori_loop(0, turns, lambda i, a: jnp.matmul(a, b), a)

    ten = count(compile_on(topology, functools.partial(repeated, 10), _SQUARE, _SQUARE).as_text(), topology.chip)
    text = compile_on(topology, repeated, jax.ShapeDtypeStruct((), jnp.int32), _SQUARE, _SQUARE).as_text()
    some = count(text, topology.chip)
    assert (ten.flops, ten.unknown_loops) == (10 * _PRODUCT, 0)
    assert (some.flops, some.unknown_loops) == (_PRODUCT, 1)
    turn = count_turn(text, topology.chip, 1)
    assert (turn.flops, turn.unknown_loops) == (_PRODUCT, 0) and turn.bytes < some.bytes


def test_convolutions_have_the_operations_that_xla_counts(topology):
    """And those of their gradients, which are convolutions with other windows."""
    x = jax.ShapeDtypeStruct((32, 9, 9, 128), jnp.bfloat16)
    kernel = jax.ShapeDtypeStruct((3, 3, 128, 256), jnp.bfloat16)

    def convolution(x, kernel):
        return lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def with_gradients(x, kernel, cotangent):
        y, pull = jax.vjp(convolution, x, kernel)
        return y, pull(cotangent)

    program = compile_on(topology, with_gradients, x, kernel, jax.eval_shape(convolution, x, kernel))
    found = count(program.as_text(), topology.chip)
    assert found.flops == pytest.approx(program.cost_analysis()["flops"], rel=0.05)


def test_collectives_of_a_split_program(topology):
    """A sum over four chips is one all-reduce of what a chip has."""
    mesh = Mesh(topology.devices, ("chips",))
    rows = jax.ShapeDtypeStruct((4 * 1024, 1024), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("chips")))
    total = jax.shard_map(
        lambda x: lax.psum(x, "chips"), mesh=mesh, in_specs=PartitionSpec("chips"), out_specs=PartitionSpec()
    )
    found = count(compiled(jax.jit(total).lower(rows)).as_text(), topology.chip)
    assert found.collectives == 1 and found.collective_bytes == pytest.approx(4 * 1024**2, rel=0.01)


def test_a_pallas_kernel_counts_as_its_cost_estimate(topology):
    """Which XLA passes on in the text that is read."""
    shape = jax.ShapeDtypeStruct((256, 256), jnp.float32)

    def kernel(x_ref, y_ref):
        y_ref[...] = 2 * x_ref[...]

    cost = pl.CostEstimate(flops=12345, transcendentals=0, bytes_accessed=678)
    doubled = pl.pallas_call(kernel, out_shape=shape, cost_estimate=cost)
    found = count(compile_on(topology, lambda x: doubled(x), shape).as_text(), topology.chip)
    assert (found.flops, dataclasses.replace(found, bytes=0).flops) == (12345, 12345)
    assert 678 <= found.bytes < 678 + 3 * 4 * 256**2


def test_a_program_that_needs_too_much_memory_says_how_much(topology):
    """Sorting 40 GB."""
    large = jax.ShapeDtypeStruct((10**7, 1000), jnp.float32)
    with pytest.raises(DoesNotFit) as refused:
        compile_on(topology, jnp.sort, large)
    assert 80e9 < refused.value.needed < 200e9


def test_counts_add_up():
    one = Count(1, 2, 3, 4.0, 5, 6, 7, 8, 1)
    assert one + one.times(2) == Count(3, 6, 9, 12.0, 15, 18, 21, 24, 2)
