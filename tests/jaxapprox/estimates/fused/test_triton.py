"""The kernels for GPUs: the oracle's sums and gradients by Pallas's interpreter, and what is lowered without a GPU."""

import contextlib
import functools
import types
import warnings

import block_estimates
import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.interpreters.mlir import make_ir_context
from jaxlib.mlir import ir
from jaxlib.triton import dialect as triton_dialect

from jaxapprox import bernoulli, mc_conv, mc_dense
from jaxapprox._src.estimates import blocks
from jaxapprox._src.estimates.fused.platforms import PLATFORMS
from jaxapprox._src.estimates.fused.triton import kernels
from jaxapprox._src.estimates.fused.triton.tiles import Axis, Tiles, Work, best
from jaxapprox._src.estimates.geometry import WITHOUT_AXES, make_geometry
from jaxapprox._src.estimates.mc import Rows

# x's shape, window, outputs, block, (strides, padding, dilation); sums over three blocks
CASES = {
    "matrices": ((21, 96), (), 50, 32, ((), (), ())),
    "1-D, dilated": ((5, 9, 144), (3,), 33, 48, ((1,), "SAME", (2,))),
    "2-D, strided": ((3, 7, 4, 96), (3, 2), 10, 32, ((2, 1), [(1, 0), (1, 1)], (1, 1))),
    "2-D, strided by more than the window": ((3, 7, 8, 48), (1, 2), 24, 16, ((3, 4), [(-1, 0), (2, 1)], (1, 1))),
    "3-D": ((3, 3, 4, 3, 192), (2, 1, 2), 5, 64, ((1, 2, 1), "VALID", (1, 1, 1))),
}
cases = pytest.mark.parametrize("case", CASES)
WEIGHTS = np.array([1.5, 0.5, 0.0], np.float32)
ROWS = Rows(jnp.array([2, 0, 0]), jnp.asarray(WEIGHTS), jnp.array([1, 3, 0]))  # the last slot is unused
SMALLEST, UNEQUAL = Tiles(16, 16, 16), Tiles(64, 32, 64)


def operands(case, dtype=jnp.float32):
    shape, window, outputs, _, geometry = CASES[case]
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(*window, shape[-1], outputs))
    g = rng.normal(size=oracles.conv(x[..., :1], kernel[..., :1, :], *geometry).shape)
    return tuple(jnp.asarray(a, dtype) for a in (x, kernel, g))


def expected(case, x, kernel, g):
    """Sum and gradients by the oracle; the last with the weights of the blocks, 0 for those that were not drawn."""
    _, window, _, block, geometry = CASES[case]
    weights = np.repeat(np.float64([0.5, 0.0, 1.5]), block)
    weighted = np.float64(kernel) * weights[:, None]
    return (
        oracles.conv(x, weighted, *geometry),
        oracles.conv_input_grad(g, weighted, x.shape[1:-1], *geometry),
        oracles.conv_kernel_grad(x, g, window, *geometry) * weights[:, None],
    )


def cut(tiles, work):
    """These tiles, as far as the axes take them."""
    axes = (work.rows, work.columns, work.depth)
    return Tiles(*(max(w for w in axis.widths(128) if w <= max(n, 16)) for axis, n in zip(axes, tiles, strict=True)))


def by_kernels(case, x, kernel, g, rows=ROWS):
    shape, window, _, block, geometry = CASES[case]
    static = make_geometry(shape, (*window, shape[-1], 1), *geometry) if window else WITHOUT_AXES
    fused = kernels.Fused(static, block, interpret=True)
    pairs = (kernels.FORWARD, x, kernel), (kernels.INPUT_GRAD, g, kernel), (kernels.KERNEL_GRAD, x, g)
    return tuple(kernels.run(kind, fused, x.dtype, rows, a, b) for kind, a, b in pairs)


@cases
@pytest.mark.parametrize(
    ("dtype", "tiles"),
    [(jnp.bfloat16, None), (jnp.float32, SMALLEST), (jnp.float32, UNEQUAL)],
    ids=["bfloat16, best tiles", "float32, smallest tiles", "float32, unequal tiles"],
)
def test_the_oracle(case, dtype, tiles, monkeypatch):
    """Odd numbers of rows and outputs, blocks of several tiles, an unused slot that repeats a used one."""
    if tiles is not None:
        monkeypatch.setattr(kernels, "best", lambda work, itemsize: cut(tiles, work))
    x, kernel, g = operands(case, dtype)
    error = 1e-5 if dtype == jnp.float32 else 2e-2
    actual = jax.jit(functools.partial(by_kernels, case))(x, kernel, g)
    for a, e in zip(actual, expected(case, x, kernel, g), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(np.float64(a), e, rtol=error, atol=error * np.abs(e).max())


@pytest.mark.parametrize("case", ["matrices", "2-D, strided"])
def test_what_was_not_drawn_is_not_read(case):
    """NaN in a block that was not drawn, though an unused slot names it, shows nowhere; its gradients are zero."""
    x, kernel, g = operands(case)
    block = CASES[case][3]
    undrawn = slice(block, 2 * block)
    x, kernel = x.at[..., undrawn].set(jnp.nan), kernel.at[..., undrawn, :].set(jnp.nan)
    rows = Rows(jnp.array([2, 0, 1]), ROWS.weights, jnp.array([1, 2, 0]))
    y, dx, dw = jax.jit(functools.partial(by_kernels, case, rows=rows))(x, kernel, g)
    chex.assert_tree_all_finite((y, dx, dw))
    assert not np.any(dx[..., undrawn]) and not np.any(dw[..., undrawn, :])


@pytest.fixture
def interpreted(monkeypatch):
    """Whatever is lowered for one device takes the kernels, run by the interpreter; which did, in order."""
    ran, run = [], kernels.run

    def on_platform(self, platform):
        return functools.partial(self._by_kernel, PLATFORMS["cuda"])

    monkeypatch.setattr(blocks._OfBlocks, "on_platform", on_platform)
    monkeypatch.setattr(kernels, "Fused", functools.partial(kernels.Fused, interpret=True))
    monkeypatch.setattr(kernels, "run", lambda kind, *args: (ran.append(kind), run(kind, *args))[1])
    jax.clear_caches()
    yield ran
    jax.clear_caches()


# A stride that does not divide the image, and a sampler that leaves slots unused.
_estimates = functools.partial(block_estimates.estimates, block=16, strides=2, spatial=5, sampler=bernoulli)


@pytest.mark.parametrize("program", ["vmap twice", "shard_map"])
def test_the_same_estimates_in_every_program(interpreted, program):
    """Kernels and XLA's form, under `vmap` over keys, twice too, and `shard_map`."""
    keys = jax.random.split(jax.random.key(0), 3)
    expected = jax.jit(jax.vmap(functools.partial(_estimates, implementation="xla")))(keys)
    interpreted.clear()
    actual = jax.jit(block_estimates.programs(_estimates)[program])(keys)
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-4)
    ran = [interpreted.count(kind) for kind in (kernels.FORWARD, kernels.INPUT_GRAD, kernels.KERNEL_GRAD)]
    assert ran == [2, 2, 2]


def test_second_derivatives(interpreted):
    """Along a line, those of the exact product of the drawn blocks."""
    x, w, step = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(((5, 48), (48, 7), (48, 7))))

    def curvature(implementation):
        options = dict(ratio=0.7, unit="block", block_size=16, implementation=implementation)
        along = lambda s: jnp.sum(mc_dense(jax.random.key(0), x * (1 + s), w + s * step, **options) ** 2)  # noqa: E731
        return jax.jit(jax.grad(jax.grad(along)))(0.1)

    chex.assert_trees_all_close(curvature(None), curvature("xla"), rtol=1e-4)


def lowered(function, *shapes):
    """The program that JAX makes for a GPU."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "The Pallas Triton backend is deprecated", DeprecationWarning)
        if jax.__version_info__ >= (0, 11):  # it wants to know for which
            device = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, platform="gpu")
            mesh = jax.sharding.AbstractMesh((1,), ("d",), abstract_device=device)
            stack.enter_context(jax.sharding.use_abstract_mesh(mesh))
        return jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",))


def triton_modules(program):
    """Triton's modules within a program; to parse them is to verify them, which lowering does not."""
    found = []

    def look(op):
        if op.name == "stablehlo.custom_call" and "xla.gpu.triton" in str(op.attributes["call_target_name"]):
            config = {entry.name: entry.attr for entry in op.attributes["mhlo.backend_config"]}
            found.append(ir.StringAttr(config["ir"]).value_bytes)
        return ir.WalkResult.ADVANCE

    program.compiler_ir("stablehlo").operation.walk(look)
    with make_ir_context() as context:
        triton_dialect.register_dialect(context)
        context.load_all_available_dialects()
        return [str(ir.Module.parse(module)) for module in found]


def test_lowering_for_a_gpu():
    """A kernel for each of the six products, in one call for all seeds; XLA's form has none, and copies blocks."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 3))
    counts = {}
    for implementation in ("pallas", "xla", None):
        estimates = functools.partial(_estimates, implementation=implementation, dtype=jnp.bfloat16)
        program = lowered(jax.vmap(estimates), keys)
        counts[implementation] = [program.as_text().count(name) for name in ("stablehlo.gather", "stablehlo.while")]
        modules = triton_modules(program)
        assert len(modules) == (6 if implementation == "pallas" else 0)  # by default XLA's form
        assert all(module.count("scf.for") == module.count("tt.dot") == 1 for module in modules)
    assert counts[None] == counts["xla"]
    assert counts["pallas"][0] <= counts["xla"][0] - 6  # a copy of each factor, or one of a gradient, for each product
    assert counts["pallas"][1] <= counts["xla"][1]


def test_on_a_gpu():
    """What the kernels compute there, where there is one."""
    if jax.default_backend() != "gpu":
        pytest.skip("there is no GPU")
    keys = jax.random.split(jax.random.key(0), 3)
    forms = [functools.partial(_estimates, implementation=form, precision="highest") for form in ("pallas", "xla")]
    chex.assert_trees_all_close(*(jax.jit(jax.vmap(form))(keys) for form in forms), rtol=1e-4, atol=1e-4)


def test_tiles_fill_a_gpu_if_they_can():
    large = best(Work(Axis(4096), Axis(4096), Axis(4096, 128)), 2)
    assert large == Tiles(128, 128, 64) and large.warps == 8
    assert best(Work(Axis(128), Axis(1024), Axis(4096, 32)), 2) == Tiles(32, 32, 32)
    assert best(Work(Axis(5), Axis(3), Axis(48, 48)), 4) == Tiles(16, 16, 16)
    assert best(Work(Axis(96, 48), Axis(4096), Axis(32768), 9), 4) == Tiles(16, 128, 32)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (dict(block_size=8), "for blocks of 8 .* of 128 .on TPUs., for blocks of 8 .* of 16 .on NVIDIA GPUs."),
        (dict(dtype=jnp.complex64), "for complex64 .on TPUs and NVIDIA GPUs."),
        (dict(precision="F32_F32_F32"), "at precision F32_F32_F32"),
        (dict(block_size=64), 'on a cpu, got "pallas": it is for TPUs and NVIDIA GPUs'),
    ],
)
def test_what_no_kernel_can_do_is_refused(options, why):
    """In a line; blocks that only a GPU takes are refused when a program is made for another platform."""
    options = dict(ratio=0.5, unit="block", implementation="pallas") | options
    dtype = options.pop("dtype", jnp.float32)
    x, kernel = jax.ShapeDtypeStruct((8, 512), dtype), jax.ShapeDtypeStruct((512, 4), dtype)
    with pytest.raises(ValueError, match=f'^implementation must be "xla" or None .*{why}') as refusal:
        jax.jit(functools.partial(mc_dense, jax.random.key(0), **options)).lower(x, kernel)
    assert "\n" not in str(refusal.value)


def test_what_one_platform_can_do_is_traced():
    """Blocks of 64 channels, a stride that does not divide the image, float16: a GPU's kernels take them, no TPU's."""
    x, kernel = jnp.ones((2, 5, 256), jnp.float16), jnp.ones((2, 256, 4), jnp.float16)
    options = dict(ratio=0.5, strides=2, unit="block", block_size=64, implementation="pallas", precision="highest")
    assert jax.eval_shape(functools.partial(mc_conv, jax.random.key(0), **options), x, kernel).shape == (2, 3, 4)


def test_a_kernel_that_this_platform_lacks_is_refused_when_lowered():
    """A block of 64 channels for a TPU."""
    estimate = functools.partial(mc_dense, ratio=0.5, unit="block", block_size=64, implementation="pallas")
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 512), (512, 4))]
    traced = jax.jit(estimate).trace(jax.eval_shape(lambda: jax.random.key(0)), *shapes)
    with pytest.raises(ValueError, match=r'^implementation must be "xla" or None on TPUs for blocks of 64 channels'):
        traced.lower(lowering_platforms=("tpu",))


@pytest.mark.parametrize(("capability", "old"), [("7.5", True), ("8.0", False), ("12.0", False), ("gfx90a", False)])
def test_gpus_before_ampere_are_too_old(capability, old):
    assert kernels.is_old(types.SimpleNamespace(compute_capability=capability)) == old
