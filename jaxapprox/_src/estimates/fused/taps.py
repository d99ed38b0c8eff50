"""The taps of a convolution's window: which outputs each reaches, from which inputs."""

import itertools
from typing import NamedTuple

from jax.experimental import pallas as pl

from jaxapprox._src.estimates.geometry import Geometry


class Tap(NamedTuple):
    """One tap, where it meets no padding.

    Attributes:
        number: its place in the flattened window.
        outputs: along each spatial axis, the output positions.
        inputs: the input positions that they see, along the axes of `split_inputs`.
    """

    number: int
    outputs: tuple[pl.Slice, ...]
    inputs: tuple[pl.Slice | int, ...]


def split_inputs(geometry: Geometry) -> tuple[int, ...]:
    """The spatial shape of the input, each axis with a stride as two: then a tap sees neighbours, which load at once.

    The strides must divide the shape.
    """
    axes = zip(geometry.in_shape, geometry.strides, strict=True)
    return tuple(part for n, stride in axes for part in ((n,) if stride == 1 else (n // stride, stride)))


def taps_of(geometry: Geometry) -> list[Tap]:
    """The taps that meet an input at all; of a product without spatial axes there is one."""
    taps = []
    for number, tap in enumerate(itertools.product(*map(range, geometry.window))):
        outputs: list[pl.Slice] = []
        inputs: list[pl.Slice | int] = []
        for axis, t in enumerate(tap):
            stride, first_input = geometry.strides[axis], t * geometry.dilation[axis] - geometry.padding[axis][0]
            first = max(0, -(first_input // stride))
            last = min(geometry.out_shape[axis] - 1, (geometry.in_shape[axis] - 1 - first_input) // stride)
            count = max(0, last - first + 1)
            outputs.append(pl.Slice(first, count, 1))
            group, phase = divmod(first * stride + first_input, stride)
            inputs += [pl.Slice(group, count, 1)] if stride == 1 else [pl.Slice(group, count, 1), phase]
        if all(axis.size for axis in outputs):
            taps.append(Tap(number, tuple(outputs), tuple(inputs)))
    return taps
