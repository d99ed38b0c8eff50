"""Meshes with axes of type Explicit: how a function that states no shardings is computed on them."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec, auto_axes


def in_auto_axes(function: Callable[..., Any], out: PartitionSpec, *arguments: Any) -> Any:
    """The value of `function(*arguments)`, computed as if the mesh's Explicit axes were of type Auto.

    Where an operation's result could be split in several ways, JAX asks for one if axes are Explicit and lets XLA
    choose if they are Auto.

    Args:
        function: takes the arguments, and reads no other array that lies on the mesh.
        out: how each of the arrays that it returns is split over the mesh.
        *arguments: arrays, or trees of them.
    """
    for array in jax.tree.leaves(arguments):
        mesh: Any = jax.typeof(array).sharding.mesh
        axes = tuple(n for n, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit)
        if axes:
            return auto_axes(function, axes=axes, out_sharding=NamedSharding(mesh, out))(*arguments)
    return function(*arguments)


def split_like(array: jax.Array, axes: int) -> PartitionSpec:
    """How the first `axes` axes of an array are split over a mesh with Explicit axes; not at all elsewhere."""
    kind: Any = jax.typeof(array)
    return PartitionSpec(*kind.sharding.spec[:axes])
