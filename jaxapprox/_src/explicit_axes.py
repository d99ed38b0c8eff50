"""Meshes whose axes are of type Explicit, on which JAX gives every array a sharding as part of its type.

Where an operation's value could be split in several ways, JAX asks for one if axes are Explicit, and lets XLA choose if
they are Auto.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def as_auto(function: Callable[..., Any], exact: Callable[..., Any], *operands: Any) -> Any:
    """`function(*operands)`, within which Explicit mesh axes are Auto ones, for XLA to divide the work over.

    Args:
        function: what to compute: a pair, of whose second part each device has all.
        exact: a function of the same operands, whose value is like the first part, as plain JAX has it: it decides on
            its sharding, and raises where there is none.
        *operands: arrays. Where none has Explicit axes the function is called as it is.
    """
    if _explicit_mesh(operands) is None:
        return function(*operands)
    out: Any = jax.eval_shape(exact, *operands)
    return split_as((out.sharding.spec, PartitionSpec()), function, *operands)


def split_as(split: Any, function: Callable[..., Any], *operands: Any) -> Any:
    """`as_auto` where it is known how the value is to be split.

    Args:
        split: a `PartitionSpec` for each array of the value: a tree of them, or a prefix of it, such as one for all.
        function, *operands: as in `as_auto`.
    """
    mesh = _explicit_mesh(operands)
    if mesh is None:
        return function(*operands)
    axes = tuple(n for n, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit)
    out = jax.tree.map(lambda s: NamedSharding(mesh, s), split, is_leaf=lambda s: isinstance(s, PartitionSpec))
    return jax.sharding.auto_axes(function, axes=axes, out_sharding=out)(*operands)


def split_of(array: Any, axes: int | None = None) -> PartitionSpec:
    """How an array, or the first `axes` axes of it, is split over Explicit mesh axes, where there are any."""
    kind: Any = jax.typeof(array)
    return PartitionSpec(*kind.sharding.spec[:axes])


def spans_devices() -> bool:
    """Whether the mesh in use (`jax.set_mesh`, or that of Explicit arrays) divides this program over devices.

    A program that `jax.jit` divides by its arguments alone can't be told when it is traced. Within `jax.shard_map` each
    device has a program of its own.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = zip(mesh.axis_sizes, mesh.axis_types, strict=True)
    return any(size > 1 and kind != AxisType.Manual for size, kind in axes)


def _explicit_mesh(operands: Any) -> Any:
    """The mesh in the arrays' types, if one of its axes is Explicit."""
    meshes = (jax.typeof(array).sharding.mesh for array in jax.tree.leaves(operands))
    return next((mesh for mesh in meshes if AxisType.Explicit in (mesh.axis_types or ())), None)
