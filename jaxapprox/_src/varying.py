"""The types that `jax.shard_map` gives arrays: the mesh axes along which each may differ from device to device."""

from typing import Any

import jax
from jax import lax


def same_varying(*trees: Any) -> tuple[Any, ...]:
    """Arrays that all vary along the mesh axes along which any of them does; outside `jax.shard_map`, as they are.

    The carry of a scan, the branches of a conditional, and primals and cotangents of a custom rule need one type.

    Args:
        *trees: arrays, or trees of them; None counts as a tree without arrays.

    Returns:
        As many trees, with the same values.
    """
    axes = frozenset[str]().union(*map(varying_axes, jax.tree.leaves(trees)))
    return jax.tree.map(lambda array: _vary(array, axes - varying_axes(array)), trees)


def varying_axes(array: Any) -> frozenset[str]:
    """The manual mesh axes along which an array varies: none outside `jax.shard_map`."""
    kind: Any = jax.typeof(array)
    return kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying  # the former before JAX 0.10


def shape_varying_as(array: Any, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """A shape and dtype, with the mesh axes along which `array` varies."""
    kind: Any = jax.typeof(array)
    if hasattr(kind, "vma"):  # before JAX 0.10
        return jax.ShapeDtypeStruct(shape, dtype, vma=kind.vma)  # type: ignore[call-arg]
    return jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=kind.manual_axis_type)


def _vary(array: Any, axes: frozenset[str]) -> Any:
    if not axes:
        return array
    names = tuple(sorted(axes))
    if hasattr(lax, "pcast"):
        return lax.pcast(array, names, to="varying")
    return lax.pvary(array, names)  # type: ignore[attr-defined]  # its name in JAX 0.7
