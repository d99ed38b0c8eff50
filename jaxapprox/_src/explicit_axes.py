"""Meshes whose axes are of type Explicit, on which JAX gives every array a sharding as part of its type."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType


def as_auto(function: Callable[..., Any], exact: Callable[..., Any], *operands: Any) -> Any:
    """`function(*operands)`, within which Explicit mesh axes are Auto ones, for XLA to divide the work over.

    Args:
        function: what to compute; its value has one array.
        exact: a function of the same operands and value, as plain JAX has it: it decides on the value's sharding, and
            raises where there is none.
        *operands: arrays. Where none has Explicit axes the function is called as it is.
    """
    mesh = next(filter(None, map(_explicit_mesh, jax.tree.leaves(operands))), None)
    if mesh is None:
        return function(*operands)
    out: Any = jax.eval_shape(exact, *operands)
    with jax.sharding.use_abstract_mesh(mesh):
        return jax.sharding.auto_axes(function, out_sharding=out.sharding.spec)(*operands)


def _explicit_mesh(array: Any) -> Any:
    """The mesh in the array's type, if one of its axes is Explicit."""
    mesh = jax.typeof(array).sharding.mesh
    return mesh if AxisType.Explicit in (mesh.axis_types or ()) else None
