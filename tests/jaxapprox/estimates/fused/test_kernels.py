"""The kernels for TPUs, run by Pallas's interpreter: the oracle's sums, gradients and traffic, whatever the tiles."""

import functools
import itertools
import math

import block_estimates
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from jaxapprox import MC, mc_conv, mc_dense, topk
from jaxapprox._src.estimates import blocks
from jaxapprox._src.estimates.fused import call, forward, input_grad, kernel_grad, kernels
from jaxapprox._src.estimates.fused.platforms import PLATFORMS
from jaxapprox._src.estimates.fused.tiles import Tiles, best
from jaxapprox._src.estimates.geometry import WITHOUT_AXES, make_geometry
from jaxapprox._src.estimates.mc import Rows
from jaxapprox._src.estimates.products import conv_transpose

# x's shape, window, outputs, (strides, padding, dilation); sums over three or four blocks
CASES = {
    "matrices": ((21, 384), (), 200, ((), (), ())),
    "1-D, dilated": ((5, 9, 384), (3,), 130, ((1,), "SAME", (2,))),
    "2-D, strided": ((18, 6, 4, 384), (3, 2), 40, ((2, 1), [(1, 0), (1, 1)], (1, 1))),
    "2-D, strided by more than the window": ((3, 6, 8, 384), (1, 2), 24, ((3, 4), [(-1, 0), (2, 1)], (1, 1))),
    "3-D": ((3, 3, 4, 3, 384), (2, 1, 2), 5, ((1, 2, 1), "VALID", (1, 1, 1))),
}
cases = pytest.mark.parametrize("case", CASES)
INDICES, WEIGHTS = np.array([2, 0, 0], np.int32), np.array([1.5, 0.5, 0.0], np.float32)  # the last slot is unused
SMALL = Tiles(16, 128, True), Tiles(16, 128, False)


def operands(case, dtype=jnp.float32):
    shape, window, outputs, geometry = CASES[case]
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(*window, shape[-1], outputs))
    g = rng.normal(size=oracles.conv(x[..., :1], kernel[..., :1, :], *geometry).shape)
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, g))


def fused_of(case):
    shape, window, _, geometry = CASES[case]
    static = make_geometry(shape, (*window, shape[-1], 1), *geometry) if window else WITHOUT_AXES
    return kernels.Fused(static, 128, interpret=True)


def expected(case, x, kernel, g):
    """Sum and gradients by the oracle; the last with the weights of the blocks, 0 for those that were not drawn."""
    _, window, _, geometry = CASES[case]
    of_block = np.zeros(3)
    np.add.at(of_block, INDICES, WEIGHTS)
    weights = np.repeat(of_block, 128)
    weighted = np.float64(kernel) * weights[:, None]
    return (
        oracles.conv(x, weighted, *geometry),
        oracles.conv_input_grad(g, weighted, x.shape[1:-1], *geometry),
        oracles.conv_kernel_grad(x, g, window, *geometry) * weights[:, None],
    )


def by_kernels(case, x, kernel, g, tiles, monkeypatch):
    if tiles is not None:
        monkeypatch.setattr(kernels, "best", lambda cost, sizes: tiles)
    fused, rows = fused_of(case), Rows(jnp.asarray(INDICES), jnp.asarray(WEIGHTS), jnp.array([1, 3, 0]))
    pairs = (kernels.FORWARD, x, kernel), (kernels.INPUT_GRAD, g, kernel), (kernels.KERNEL_GRAD, x, g)
    return tuple(kernels.run(kind, fused, x.dtype, rows, a, b) for kind, a, b in pairs)


@cases
@pytest.mark.parametrize(
    ("dtype", "tiles"),
    [(jnp.bfloat16, None), (jnp.float32, SMALL[0]), (jnp.float32, SMALL[1])],
    ids=["bfloat16, best tiles", "float32, resident", "float32, small tiles"],
)
def test_the_oracle(case, dtype, tiles, monkeypatch):
    """Odd numbers of examples and outputs, tiles that end beyond them, an unused slot that repeats a used one."""
    x, kernel, g = operands(case, dtype)
    error = 1e-5 if dtype == jnp.float32 else 2e-2
    for actual, e in zip(by_kernels(case, x, kernel, g, tiles, monkeypatch), expected(case, x, kernel, g), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(np.float64(actual), e, rtol=error, atol=error * np.abs(e).max())


@cases
def test_what_was_not_drawn_is_not_read(case, monkeypatch):
    """NaN in the block that was not drawn shows nowhere, and its gradients are zero."""
    x, kernel, g = operands(case)
    x, kernel = x.at[..., 128:256].set(jnp.nan), kernel.at[..., 128:256, :].set(jnp.nan)
    y, dx, dw = by_kernels(case, x, kernel, g, SMALL[0], monkeypatch)
    chex.assert_tree_all_finite((y, dx, dw))
    assert not np.any(dx[..., 128:256]) and not np.any(dw[..., 128:256, :])


@pytest.fixture
def interpreted(monkeypatch):
    """Whatever is lowered for one device takes the kernels, run by the interpreter."""

    def on_platform(self, platform):
        return functools.partial(self._by_kernel, PLATFORMS["tpu"])

    monkeypatch.setattr(blocks._OfBlocks, "on_platform", on_platform)
    monkeypatch.setattr(kernels, "Fused", functools.partial(kernels.Fused, interpret=True))
    jax.clear_caches()
    yield
    jax.clear_caches()


_estimates = functools.partial(block_estimates.estimates, block=128)


@pytest.mark.parametrize("program", block_estimates.programs(_estimates))
def test_the_same_estimates_in_every_program(interpreted, program):
    """Kernels and XLA's form, under `vmap` over keys, `scan`, `jax.checkpoint` and `shard_map`."""
    keys = jax.random.split(jax.random.key(0), 3)
    expected = jax.jit(jax.vmap(functools.partial(_estimates, implementation="xla")))(keys)
    actual = jax.jit(block_estimates.programs(_estimates)[program])(keys)
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_derivatives_of_any_order(interpreted):
    """Of an estimate with topk, whose draw is fixed, by its own autodiff: the Hessian along a line, and a tangent."""
    x = jax.random.normal(jax.random.key(0), (5, 384)) * jnp.repeat(jnp.array([[1.0, 3.0, 2.0]]), 128, 1)
    w, step = (jax.random.normal(jax.random.key(i), (384, 7)) for i in (1, 2))
    estimate = functools.partial(mc_dense, jax.random.key(0), ratio=0.7, sampler=topk, unit="block")
    kept = jnp.arange(384)[None] >= 128

    def exact(x, w):
        return (x * kept) @ w

    def of(function):
        along = lambda s: jnp.sum(function(x + s * x, w + s * step) ** 2)  # noqa: E731
        return jax.jit(lambda s: (jax.grad(along)(s), jax.grad(jax.grad(along))(s)))(0.1)

    chex.assert_trees_all_close(of(estimate), of(exact), rtol=1e-4)


def test_kernels_are_what_runs(interpreted, monkeypatch):
    """Else the tests above compare XLA's form with itself."""
    ran = []
    run = kernels.run
    monkeypatch.setattr(kernels, "run", lambda kind, *args: (ran.append(kind), run(kind, *args))[1])
    _estimates(jax.random.key(0))
    assert sorted(map(ran.count, (kernels.FORWARD, kernels.INPUT_GRAD, kernels.KERNEL_GRAD))) == [2, 2, 2]


def _transfers(spec, grid, prefetched, shape, itemsize):
    """Bytes that a block's copies take, by running its index map over the grid: none where the block stays."""
    moved, before = 0, None
    for step in itertools.product(*map(range, grid)):
        at = tuple(map(int, spec.index_map(*step, *prefetched)))
        if at != before:
            ends = zip(at, spec.block_shape, shape, strict=True)
            moved += itemsize * math.prod(min(size, n - i * size) for i, size, n in ends)
        before = at
    return moved


@cases
@pytest.mark.parametrize("tiles", [*SMALL, Tiles(21, 200, True)])
@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("module", [forward, input_grad, kernel_grad], ids=lambda m: m.__name__.split(".")[-1])
def test_stated_traffic_is_that_of_the_index_maps(case, tiles, slots, module, monkeypatch):
    """What a kernel says that it moves, to XLA and to those who count: the copies of blocks that the grid asks for."""
    x, kernel, g = operands(case, jnp.bfloat16)
    tiles = tiles._replace(examples=min(tiles.examples, x.shape[0]), outputs=min(tiles.outputs, g.shape[-1]))
    indices = np.array([[2, 0][:slots], [1, 2][:slots]], np.int32)  # of two seeds
    weights = np.ones((2, slots), np.float32)
    seen = {}

    def watched(body, *, out_shape, grid_spec, cost_estimate, metadata, **rest):
        def called(*operands):
            specs = [*grid_spec.in_specs, grid_spec.out_specs]
            pairs = zip(specs, [*operands[2:], out_shape], strict=True)
            counted = [_transfers(s, grid_spec.grid, (indices, weights), a.shape, a.dtype.itemsize) for s, a in pairs]
            seen.update(counted=counted, stated=metadata["moved"], total=cost_estimate.bytes_accessed)
            return jnp.zeros(out_shape.shape, out_shape.dtype)

        return called

    monkeypatch.setattr(call.pl, "pallas_call", watched)
    fused = fused_of(case)
    positions_first = [jnp.stack([jnp.moveaxis(a, 0, -2)] * 2) for a in (x, g)]
    positions_first[0] = positions_first[0].reshape(2, *fused.in_shape, *positions_first[0].shape[-2:])
    flat = jnp.stack([kernel.reshape(-1, *kernel.shape[-2:])] * 2)
    factors = {
        forward: (positions_first[0], flat),
        input_grad: (positions_first[1], flat),
        kernel_grad: tuple(positions_first),
    }[module]
    run = getattr(module, module.__name__.split(".")[-1])
    run(fused, tiles, jnp.asarray(indices), jnp.asarray(weights), *factors, jnp.bfloat16)
    assert seen["stated"] == " ".join(map(str, seen["counted"])) and seen["total"] == sum(seen["counted"])


def test_large_products_read_and_write_little_more_than_they_must():
    """Half of 4,096 channels, 4,096 examples and outputs, bfloat16: 1.1 times the bytes of operands and results."""
    fused, slots, n = kernels.Fused(WITHOUT_AXES, 128), jax.ShapeDtypeStruct((1, 16), jnp.int32), 4096
    matrix, flat = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in ((1, n, n), (1, 1, n, n)))
    moved = 0
    for module, b in ((forward, flat), (input_grad, flat), (kernel_grad, matrix)):
        size = call.sizes_of(fused, module.KINDS, slots, matrix, b, jnp.bfloat16)
        moved += sum(module.cost(size, best(module.cost, size)).moved)
    floor = 2 * n * n * (0.5 + 0.5 + 1 + 1 + 0.5 + 1 + 0.5 + 1 + 1)
    assert floor <= moved < 1.1 * floor


@pytest.mark.parametrize(
    ("x", "kernel", "options", "why"),
    [
        ((8, 512), (512, 4), dict(block_size=64), "on TPUs for blocks of 64"),
        ((0, 512), (512, 4), {}, "shapes"),
        ((8, 1 << 20), (1 << 20, 512), {}, "fit"),
        ((8, 512), (512, 4), dict(dtype=jnp.float16), "float16"),
        ((8, 512), (512, 4), dict(precision="high"), "precision"),
    ],
)
def test_a_kernel_that_can_not_run_is_refused(x, kernel, options, why):
    """In a line, when a program is made for a TPU or before; unless it was asked for, XLA's form is there instead."""
    options = dict(options)
    dtype, precision = options.pop("dtype", jnp.float32), options.pop("precision", None)
    x, kernel = jax.ShapeDtypeStruct(x, dtype), jax.ShapeDtypeStruct(kernel, dtype)

    def gradients(x, kernel, implementation):
        arguments = dict(ratio=0.5, unit="block", implementation=implementation, precision=precision)
        y, pull = jax.vjp(functools.partial(mc_dense, jax.random.key(0), **arguments, **options), x, kernel)
        return pull(y)

    with pytest.raises(ValueError, match=f'^implementation must be "xla" or None .*{why}') as refusal:
        _for_a_tpu(functools.partial(gradients, implementation="pallas"), x, kernel)
    assert "\n" not in str(refusal.value)
    dx, dkernel = _for_a_tpu(functools.partial(gradients, implementation=None), x, kernel).out_info
    assert (dx.shape, dkernel.shape) == (x.shape, kernel.shape)


def _for_a_tpu(function, *shapes):
    return jax.jit(function).trace(*shapes).lower(lowering_platforms=("tpu",))


def test_a_stride_that_does_not_divide_the_input_has_no_kernel():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 4, 5, 512), (3, 3, 512, 4))]
    arguments = dict(ratio=0.5, strides=2, unit="block", implementation="pallas")
    with pytest.raises(
        ValueError, match=r"^implementation must .* on TPUs for strides \(2, 2\) that do not divide .* \(4, 5\)"
    ):
        _for_a_tpu(functools.partial(mc_conv, jax.random.key(0), **arguments), *shapes)


def test_a_transposed_convolution_has_no_kernel():
    method = MC(0.5, unit="block", implementation="pallas")
    with pytest.raises(ValueError, match=r"^implementation must .* for a transposed convolution"):
        conv_transpose(
            method, jax.random.key(0), None, jnp.ones((2, 4, 4, 512)), jnp.ones((3, 3, 512, 4)), (2, 2), "SAME"
        )
