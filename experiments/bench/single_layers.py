"""Single layers, exact and sampled, that the parts tpu and device compare: their sizes and their forms."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from jaxapprox import MC, conv, mc_conv, mc_dense, topk


class Layer(Protocol):
    """A convolution, or where the kernel is a matrix a dense layer; scores are kept from another step, or None."""

    def __call__(
        self, key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None, /
    ) -> jax.Array: ...


class Sizes(NamedTuple):
    """Those of a layer.

    Attributes:
        x: the shape of its input.
        kernel: that of its kernel.
    """

    x: tuple[int, ...]
    kernel: tuple[int, ...]


def exact(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
    """The layer itself."""
    return conv(x, kernel) if kernel.ndim == 4 else x @ kernel


def half(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
    """The exact layer on the first half of its input channels: what a sample of a half can't be cheaper than."""
    kept = x.shape[-1] // 2
    return exact(key, x[..., :kept], kernel[..., :kept, :])


class Variant(NamedTuple):
    """A form of a layer.

    Attributes:
        layer: what is compiled.
        method: by which it is sampled, whose error theory predicts.
        scores: from operands, those that it is given; None for none.
        share: of the exact layer's products, output and both gradients, that it computes.
    """

    layer: Layer
    method: MC | None = None
    scores: Callable[..., Any] | None = None
    share: float = 1.0


def sampled(*, keeps_scores: bool = False, **settings: Any) -> Variant:
    """The layer with these settings of `jaxapprox.mc_conv` and `jaxapprox.mc_dense`; perhaps by scores that it has."""

    def estimate(kernel: jax.Array) -> Callable[..., Any]:
        return functools.partial(mc_conv if kernel.ndim == 4 else mc_dense, **settings)

    def layer(key: jax.Array, x: jax.Array, kernel: jax.Array, scores: jax.Array | None = None) -> jax.Array:
        return estimate(kernel)(key, x, kernel, scores=scores)

    def scores(x: jax.Array, kernel: jax.Array) -> Any:
        return estimate(kernel)(jax.random.key(0), x, kernel, return_scores=True)[1]

    method = MC(**settings)
    # In mode "kernel" two of the three products are exact.
    share = (2 + method.ratio) / 3 if method.mode == "kernel" else method.ratio
    return Variant(layer, method, scores if keeps_scores else None, share)


VARIANTS: Mapping[str, Variant] = {
    "exact": Variant(exact),
    "mc 0.5 topk": sampled(ratio=0.5, sampler=topk),
    "mc 0.5 systematic": sampled(ratio=0.5),
    "mc 0.5 kernel": sampled(ratio=0.5, mode="kernel"),
    "mc 0.5 block": sampled(ratio=0.5, unit="block"),
    "mc 0.25 block": sampled(ratio=0.25, unit="block"),
    "mc 0.5 block, scores kept": sampled(keeps_scores=True, ratio=0.5, unit="block"),
    "mc 0.5 block, XLA's": sampled(ratio=0.5, unit="block", implementation="xla"),
    "bound": Variant(half, share=0.5),
}
"""The forms by name; the first is what the others are compared with."""

SIZES = {
    "conv 64, 32 x 32": Sizes((128, 32, 32, 64), (3, 3, 64, 64)),
    "conv 512, 4 x 4": Sizes((128, 4, 4, 512), (3, 3, 512, 512)),
    "conv 1024, 4 x 4": Sizes((128, 4, 4, 1024), (3, 3, 1024, 1024)),
    "dense 4096": Sizes((4096, 4096), (4096, 4096)),
}
"""The layers; of the convolutions with their kernels of 3 x 3 the channels and the image, at batch 128."""


def output_and_gradients(
    variant: Variant, key_data: jax.Array, x: jax.Array, kernel: jax.Array, cotangent: jax.Array, scores: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """A layer's output, and the gradients of both factors for the output's one that is given."""
    key = jax.random.wrap_key_data(key_data)
    y, pull = jax.vjp(lambda x, kernel: variant.layer(key, x, kernel, scores), x, kernel)
    return y, pull(cotangent)
