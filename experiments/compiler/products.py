"""Operations of matrix products and convolutions, from their shapes in HLO."""

import math
import re

import numpy as np

from experiments.compiler.hlo import Computation, Instruction, Program


def flops(program: Program, computation: Computation, instruction: Instruction) -> int:
    """Additions and multiplications of an instruction's products, those within a fusion included.

    Products with padding or with the holes of a dilation are left out, and so is what is no product.
    """
    if instruction.opcode == "dot":
        return _dot(computation, instruction)
    if instruction.opcode == "convolution":
        return _convolution(computation, instruction)
    if instruction.opcode == "fusion" and (called := instruction.named("calls")):
        inner = program.computations[called]
        return sum(flops(program, inner, each) for each in inner.instructions.values())
    return 0


def _dot(computation: Computation, dot: Instruction) -> int:
    left = computation.operands(dot)[0].shapes[0]
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", dot.attributes)
    axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
    return 2 * math.prod(dot.shapes[0].dims) * math.prod(left.dims[axis] for axis in axes)


def _convolution(computation: Computation, convolution: Instruction) -> int:
    left, kernel = (operand.shapes[0].dims for operand in computation.operands(convolution))
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", convolution.attributes)
    if labels is None:
        raise ValueError(f"a convolution must have dim_labels, got {convolution.attributes[:200]}")
    image, of_kernel, result = labels.groups()
    spatial = sorted(set(image) - {"b", "f"})
    window = _window(convolution, len(spatial))
    positions = 1
    for n, axis in enumerate(spatial):
        sizes = left[image.index(axis)], kernel[of_kernel.index(axis)], convolution.shapes[0].dims[result.index(axis)]
        positions *= _positions(*sizes, **{name: values[n] for name, values in window.items()})
    groups = int(convolution.named("batch_group_count") or 1)
    batch = left[image.index("b")] // groups
    return 2 * batch * kernel[of_kernel.index("i")] * kernel[of_kernel.index("o")] * positions


def _window(convolution: Instruction, spatial: int) -> dict[str, list[int]]:
    """By spatial axis: the stride, the padding before the first element, and both dilations."""
    written = re.search(r"window=\{([^}]*)\}", convolution.attributes)
    given = dict(word.split("=") for word in written[1].split()) if written else {}
    pads = [int(pad.split("_")[0]) for pad in given["pad"].split("x")] if "pad" in given else [0] * spatial
    factors = {
        name: [int(value) for value in given[key].split("x")] if key in given else [1] * spatial
        for name, key in (("stride", "stride"), ("holes", "lhs_dilate"), ("spread", "rhs_dilate"))
    }
    return {"pad": pads, **factors}


def _positions(size: int, kernel: int, result: int, *, pad: int, stride: int, holes: int, spread: int) -> int:
    """How many pairs of a result's and a kernel's element meet an element of the input, along one axis."""
    met = stride * np.arange(result)[:, None] + spread * np.arange(kernel) - pad
    return int(np.count_nonzero((met >= 0) & (met <= (size - 1) * holes) & (met % holes == 0)))
