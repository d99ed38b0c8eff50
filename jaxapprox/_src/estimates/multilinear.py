"""Functions that are linear in each of their factors, with transposes of one's own, under every transform of JAX.

`jax.custom_vjp` has no forward mode, `jax.custom_jvp` no transposes of one's own. A primitive has both: here is one,
whose parameter says what it computes. Its derivatives are of any order and in either mode.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxapprox._src.varying import same_varying


class Map:
    """A function of extras, which have no gradient, and of factors, in each of which it is linear.

    Subclasses are hashable by value, and know no shapes: all operands come with the call.

    Attributes:
        extras: the number of operands that are no factors; they come first.
        in_turn_on_cpu: whether `vmap` over all operands computes one after another on a CPU.
    """

    extras = 0
    in_turn_on_cpu = False

    # The value, from the operands.
    __call__: Callable[..., jax.Array]

    # The transpose in the operand at `position`, as `transpose(position, g, *operands)` of a cotangent g; that operand
    # is None.
    transpose: Callable[..., jax.Array]

    def over_devices(self, *operands: Any, **_: Any) -> jax.Array:
        """The value in a program that runs on several devices, between which XLA divides its work."""
        return self(*operands)

    def on_platform(self, platform: str) -> Callable[..., jax.Array]:
        """What computes the value on one device of a platform: `cpu`, `cuda`, `rocm` or `tpu`.

        Raises:
            ValueError: if it is to be computed by what that platform lacks.
        """
        return self


def apply(function: Map, *operands: jax.Array) -> jax.Array:
    """`function(*operands)`, differentiated by its own transposes."""
    return _multilinear.bind(*same_varying(*operands), map=function)


@dataclasses.dataclass(frozen=True)
class _Mapped(Map):
    """A map along the first axis of those operands that `mapped` marks."""

    of: Map
    mapped: tuple[bool, ...]

    def __post_init__(self):
        object.__setattr__(self, "extras", self.of.extras)
        object.__setattr__(self, "in_turn_on_cpu", self.of.in_turn_on_cpu)

    def __call__(self, *operands):
        if not (self.in_turn_on_cpu and all(self.mapped)):
            return self._at_once(self.of, operands)
        return lax.platform_dependent(
            *operands,
            cpu=lambda *operands: lax.map(lambda one: self.of(*one), operands),
            default=lambda *operands: self._at_once(self.of, operands),
        )

    def over_devices(self, *operands):
        return self._at_once(self.of.over_devices, operands)

    def on_platform(self, platform):
        function = self.of.on_platform(platform)
        return self if function is self.of else lambda *operands: self._at_once(function, operands)

    def transpose(self, position, g, *operands):
        axes = tuple(0 if m else None for m in self.mapped)
        transposed = jax.vmap(
            functools.partial(self.of.transpose, position), in_axes=(0, *axes[:position], None, *axes[position + 1 :])
        )(g, *operands)
        return transposed if self.mapped[position] else jnp.sum(transposed, 0)

    def _at_once(self, function: Callable[..., jax.Array], operands: tuple[jax.Array, ...]) -> jax.Array:
        return jax.vmap(function, in_axes=tuple(0 if m else None for m in self.mapped))(*operands)


_multilinear = Primitive("multilinear")


@functools.partial(jax.jit, static_argnames="map")
def _value(*operands, map):
    return _multilinear.bind(*operands, map=map)


@functools.partial(jax.jit, static_argnames=("map", "position"), inline=True)
def _transposed(g, *operands, map, position):
    return map.transpose(position, g, *operands)


def _abstract_value(*operands, map):
    return jax.make_jaxpr(map)(*operands).out_avals[0]


def _jvp(primals, tangents, *, map):
    value = _multilinear.bind(*primals, map=map)
    terms = [
        _multilinear.bind(*primals[:i], tangent, *primals[i + 1 :], map=map)
        for i, tangent in enumerate(tangents)
        if i >= map.extras and type(tangent) is not ad.Zero
    ]
    return value, functools.reduce(operator.add, terms) if terms else ad.Zero(jax.typeof(value).to_tangent_aval())


def _transpose(g, *operands, map):
    position = next(i for i, operand in enumerate(operands) if ad.is_undefined_primal(operand))
    cotangents = [None] * len(operands)
    if type(g) is not ad.Zero:
        others = [None if i == position else operand for i, operand in enumerate(operands)]
        cotangents[position] = _transposed(g, *others, map=map, position=position)
    return cotangents


def _batch(operands, axes, *, map):
    operands = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(operands, axes, strict=True)]
    mapped = _Mapped(map, tuple(axis is not None for axis in axes))
    return _multilinear.bind(*operands, map=mapped), 0


def _lower(context, *operands, map):
    # Within a manual region (shard_map) each device has a program of its own.
    several = getattr(context.module_context.axis_context, "num_devices", None) not in (None, 1)
    platforms = context.module_context.platforms
    function = map.over_devices if several else map.on_platform(platforms[0]) if len(platforms) == 1 else map
    return mlir.lower_fun(lambda *operands: function(*operands), multiple_results=False)(context, *operands)


_multilinear.def_impl(_value)
_multilinear.def_abstract_eval(_abstract_value)
ad.primitive_jvps[_multilinear] = _jvp
ad.primitive_transposes[_multilinear] = _transpose
batching.primitive_batchers[_multilinear] = _batch
mlir.register_lowering(_multilinear, _lower)
