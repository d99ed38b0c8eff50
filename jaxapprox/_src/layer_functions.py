"""What the layers of both Flax APIs compute, once they have their parameters and a key."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxapprox._src.conversion.methods import MC, options
from jaxapprox._src.estimates.conv import conv, mc_conv
from jaxapprox._src.estimates.dense import mc_dense
from jaxapprox._src.estimates.geometry import Padding
from jaxapprox._src.hashing.active_sets import Tables, active_set, build, shared_active_set

Initializer = Callable[..., jax.Array]


def plus_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """y `(..., features)` plus bias `(features,)`, if there is one."""
    return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def convolution(
    key: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None,
    method: MC,
    *,
    strides: int | Sequence[int] | None,
    padding: Padding,
    kernel_dilation: int | Sequence[int] | None,
) -> jax.Array:
    """x `(*batch, *spatial, in)`, any number of batch axes, -> `(*batch, *out_spatial, features)`.

    Args:
        key: for `mc_conv` by `method`; None for the exact convolution.
        strides, kernel_dilation: as in `mc_conv`; None is 1, as in Flax.
    """
    spatial = kernel.ndim - 2
    if x.ndim < spatial + 1:
        raise ValueError(f"x must have shape (*batch, *spatial, in) with {spatial} spatial axes, got shape {x.shape}")
    batch, image = x.shape[: -spatial - 1], x.shape[-spatial - 1 :]
    geometry: dict[str, Any] = dict(
        strides=1 if strides is None else strides,
        padding=padding,
        kernel_dilation=1 if kernel_dilation is None else kernel_dilation,
    )
    images = x.reshape(-1, *image)
    if key is None:
        y = conv(images, kernel, **geometry)
    else:
        y = mc_conv(key, images, kernel, **options(method, convolves=True), **geometry)
    return plus_bias(y.reshape(*batch, *y.shape[1:]), bias)


def dense(key: jax.Array | None, x: jax.Array, kernel: jax.Array, bias: jax.Array | None, method: MC) -> jax.Array:
    """x `(..., in)` -> `(..., features)`: `mc_dense` by `method` with a key, the exact product without."""
    y = x @ kernel if key is None else mc_dense(key, x, kernel, **options(method, convolves=False))
    return plus_bias(y, bias)


def num_active(active: float, features: int) -> int:
    """How many units a share `active` in (0, 1] of `features` is: at least one."""
    return max(1, round(active * features))


def build_tables(key: jax.Array, weights: jax.Array, settings: Any) -> Tables:
    """`jaxapprox.lsh.build` of `(units, features)` weights by the attributes of `settings`, a layer or an `ALSH`."""
    names = ("num_tables", "num_bits", "transform", "num_powers", "max_norm", "projection")
    return build(key, weights, **{name: getattr(settings, name) for name in names})


def active_units(key: jax.Array, tables: Tables, x: jax.Array, size: int, settings: Any) -> jax.Array:
    """The active sets of examples x `(batch, features)`: `(batch, size)` or, where `settings` share one, `(size,)`."""
    choose = shared_active_set if settings.shared else active_set
    return choose(key, tables, x, size=size, select=settings.select)
