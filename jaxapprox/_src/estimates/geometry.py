"""The static side of a convolution: window, strides, padding and dilation, checked once."""

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

_NAMED = ("SAME", "SAME_LOWER", "VALID")
Padding = str | int | Sequence[int | tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Everything about an N-dimensional convolution that is known before it is traced.

    Attributes:
        window: spatial shape of the kernel, in taps.
        strides: step of the window along each spatial axis.
        padding: zeros before and after each spatial axis.
        dilation: distance between neighbouring taps along each spatial axis.
        in_shape: spatial shape of the input.
    """

    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    in_shape: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions that the dilated window spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, self.dilation, strict=True))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Spatial shape of the output."""
        axes = zip(self.in_shape, self.padding, self.extent, self.strides, strict=True)
        return tuple(max(0, (n + lo + hi - e) // s + 1) for n, (lo, hi), e, s in axes)


WITHOUT_AXES = Geometry((), (), (), (), ())
"""Of a product of matrices: a convolution of one position by one tap."""


def channels_last(spatial: int) -> lax.ConvDimensionNumbers:
    """The axes of input, kernel and output of a convolution, as `lax.conv_general_dilated` takes them."""
    axes = tuple(range(1, spatial + 1))
    kernel = (spatial + 1, spatial, *range(spatial))
    return lax.ConvDimensionNumbers((0, spatial + 1, *axes), kernel, (0, spatial + 1, *axes))


def make_geometry(
    x_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
) -> Geometry:
    """Checks the arguments of a convolution and resolves `padding` to pairs.

    Args:
        x_shape: `(batch, *spatial, in)` with one to three spatial axes.
        kernel_shape: `(*window, in, out)`.
        strides: one positive integer for all spatial axes, or one for each.
        padding: "SAME", "SAME_LOWER", "VALID", one integer, or a pair `(low, high)` (or an integer) for each spatial
            axis.
        dilation: distance between taps; as `strides`.

    Raises:
        ValueError: naming the argument that does not fit, its value and what it must be.
    """
    spatial = check_ranks(x_shape, kernel_shape)
    if kernel_shape[-2] != x_shape[-1]:
        raise ValueError(f"kernel must have as many input channels as x ({x_shape[-1]}), got {kernel_shape[-2]}")
    window, in_shape = kernel_shape[:-2], x_shape[1:-1]
    if 0 in window:
        raise ValueError(f"kernel must have at least one tap along each spatial axis, got shape {kernel_shape}")
    strides = per_axis("strides", strides, spatial)
    dilation = per_axis("kernel_dilation", dilation, spatial)
    extent = tuple((k - 1) * d + 1 for k, d in zip(window, dilation, strict=True))
    return Geometry(window, strides, _pairs(padding, in_shape, extent, strides), dilation, in_shape)


def check_ranks(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> int:
    """The number of spatial axes, of which there may be one to three.

    Raises:
        ValueError: if there are others, or the kernel has another number of them than x.
    """
    spatial = len(x_shape) - 2
    if spatial not in (1, 2, 3):
        raise ValueError(f"x must have shape (batch, *spatial, in) with 1 to 3 spatial axes, got shape {x_shape}")
    if len(kernel_shape) != len(x_shape):
        raise ValueError(f"kernel must have rank {len(x_shape)}, (*window, in, out), got shape {kernel_shape}")
    return spatial


def transpose_padding(
    x_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The zeros around the spread input of a transposed convolution, as `lax.conv_transpose` adds them.

    Args:
        x_shape, kernel_shape, dilation: as for `make_geometry`.
        strides: the factors by which the input is spread.
        padding: "SAME", "VALID", or numbers as for `make_geometry`.

    Returns:
        A `(low, high)` pair for each spatial axis.

    Raises:
        ValueError: as for `make_geometry`.
    """
    named = isinstance(padding, str)
    checked = make_geometry(x_shape, kernel_shape, strides, 0 if named else padding, dilation)
    if not named:
        return checked.padding
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"padding must be 'SAME', 'VALID', or integers, got {padding!r}")
    pairs = []
    for stride, extent in zip(checked.strides, checked.extent, strict=True):
        same = padding == "SAME"
        total = extent + stride - 2 + (0 if same else max(extent - stride, 0))
        low = -(-total // 2) if same and stride < extent else extent - 1
        pairs.append((low, total - low))
    return tuple(pairs)


def transposed(spread: Geometry, strides: tuple[int, ...], x_shape: tuple[int, ...]) -> Geometry:
    """The geometry of the convolution of which a transposed one is the input gradient.

    Args:
        spread: the transposed one as a convolution, of stride 1, of its spread input.
        strides: the factors by which the input is spread.
        x_shape: `(batch, *spatial, in)`, of that input before.
    """
    pairs = []
    axes = zip(x_shape[1:-1], strides, spread.extent, spread.padding, spread.out_shape, strict=True)
    for size, stride, extent, (low, _), out in axes:
        pairs.append((extent - 1 - low, (size - 1) * stride + 1 + low - out))
    return Geometry(spread.window, strides, tuple(pairs), spread.dilation, spread.out_shape)


def per_axis(name: str, value: Any, spatial: int) -> tuple[int, ...]:
    """A positive integer for each spatial axis, from one for all of them or a sequence."""
    values = tuple(value) if isinstance(value, Sequence | np.ndarray) and np.ndim(value) else (value,) * spatial
    if len(values) != spatial or any(not _is_int(v) or v < 1 for v in values):
        raise ValueError(f"{name} must be a positive integer or {spatial} of them, got {value!r}")
    return tuple(operator.index(v) for v in values)


def _pairs(
    padding: Any, in_shape: tuple[int, ...], extent: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """`padding` as one `(low, high)` pair for each spatial axis."""
    message = (
        f"padding must be {', '.join(map(repr, _NAMED))}, an integer, or {len(in_shape)} integers or (low, high)"
        f" pairs, got {padding!r}"
    )
    if isinstance(padding, str):
        if padding.upper() not in _NAMED:
            raise ValueError(message)
        pads = lax.padtype_to_pads(in_shape, extent, strides, padding.upper())
        return tuple((int(low), int(high)) for low, high in pads)  # some are NumPy's, which in kernels count as arrays
    given = padding.tolist() if isinstance(padding, np.ndarray) else padding
    per_axis = list(given) if isinstance(given, Sequence) else [given] * len(in_shape)
    pairs: list[Any] = [tuple(p) if isinstance(p, Sequence | np.ndarray) else (p, p) for p in per_axis]
    if len(pairs) != len(in_shape) or any(len(p) != 2 or not all(map(_is_int, p)) for p in pairs):
        raise ValueError(message)
    return tuple((operator.index(lo), operator.index(hi)) for lo, hi in pairs)


def _is_int(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
