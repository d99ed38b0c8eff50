r"""The Monte-Carlo estimate of a contraction, whatever the contraction is.

A dense product and a convolution are both sums over input channels, y = \sum_c x_c * kernel_c, bilinear in x and
kernel, and so are their two gradients: the input's a sum over output channels, the kernel's a sum over examples.
`MC` samples those sums, and `Contraction` evaluates what was kept.
"""

import dataclasses
import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxapprox._src.checks import check_key
from jaxapprox._src.estimates import blocks, multilinear
from jaxapprox._src.estimates.bilinear import Bilinear
from jaxapprox._src.estimates.mc import MC, MODES, Rows, check_row_scores
from jaxapprox._src.estimates.slices import norms, put_slices, take_channels, take_slices, take_weighted, weighted
from jaxapprox._src.explicit_axes import spans_devices
from jaxapprox._src.varying import same_varying

Estimated = tuple[jax.Array, jax.Array | None]
"""A value, and the scores of the rows that its sum was estimated from; None where no row of it was drawn."""


class Contraction(Bilinear):
    """A product of x `(batch, ..., in)` and kernel `(..., in, out)`, its transposes, and estimates of them.

    Subclasses are hashable and know neither the batch size nor the channel counts. Sampled by channel or by blocks of
    them here: the forward over input channels, the input gradient over output channels.
    """

    def forward_estimate(
        self, method: MC, key: jax.Array, scores: jax.Array | None, x: jax.Array, kernel: jax.Array
    ) -> Estimated:
        """Estimates `forward`; gradients flow through the kept channels only.

        Without scores the channels are drawn by their own.
        """
        block = method.block(x.shape[-1])
        if _keeps_all(method, x.shape[-1], block):
            return self.forward(x, kernel), None
        if scores is None:
            scores = blocks.scores(norms(x, -1) * norms(kernel, -2), block)
        rows = method.draw(key, check_row_scores(scores, x.shape[-1] // block))
        if method.unit == "block":
            return blocks.estimate(self, block, method.implementation, rows, x, kernel), scores
        return self.forward(take_channels(x, rows), take_weighted(kernel, rows, -2)), scores

    def input_grad_estimate(self, method: MC, key: jax.Array, g: jax.Array, kernel: jax.Array) -> jax.Array:
        """Estimates `input_grad` from some of the output channels."""
        block = method.block(g.shape[-1])
        if _keeps_all(method, g.shape[-1], block):
            return self.input_grad(g, kernel)
        rows = method.draw(key, blocks.scores(norms(g, -1) * norms(kernel, -1), block))
        if method.unit == "block":
            return self.input_grad(blocks.take(g, rows, -1, block), blocks.take_weighted(kernel, rows, -1, block))
        return self.input_grad(take_channels(g, rows), take_weighted(kernel, rows, -1))

    def kernel_grad_estimate(self, method: MC, key: jax.Array, x: jax.Array, g: jax.Array) -> jax.Array:
        """Estimates `kernel_grad` from some of the examples."""
        if method.size(x.shape[0]) == x.shape[0]:
            return self.kernel_grad(x, g)
        rows = method.draw(key, norms(x, 0) * norms(g, 0))
        return multilinear.apply(_KernelGradOfRows(self), *rows, x, g)

    def kernel_tangent_estimate(self, method: MC, key: jax.Array, x: jax.Array, tangent: jax.Array) -> jax.Array:
        """Estimates `forward` of the kernel's tangent from some of the examples, drawn by the norms of x alone.

        Its transpose is the kernel gradient from these examples, and needs nothing of the others.
        """
        rows = method.draw(key, norms(x, 0))
        if spans_devices():  # the examples stay where they are
            return weighted(self.forward(x, tangent), _every_row(rows), 0)
        y = self.forward(take_slices(x, rows, 0), tangent)
        return put_slices(weighted(y, rows, 0), rows, 0)


def _keeps_all(method: MC, channels: int, block: int) -> bool:
    return method.size(channels // block) == channels // block


@dataclasses.dataclass(frozen=True)
class _KernelGradOfRows(multilinear.Map):
    """The kernel gradient of the sampled examples, each times its weight."""

    contraction: Contraction

    extras = 3

    def __call__(self, indices, weights, slot_of, x, g):
        rows = Rows(indices, weights, slot_of)
        return self.contraction.kernel_grad(take_slices(x, rows, 0), take_weighted(g, rows, 0))

    def over_devices(self, indices, weights, slot_of, x, g):
        # No device needs to be sent the examples of another.
        rows = Rows(indices, weights, slot_of)
        return self.contraction.kernel_grad(x, weighted(g, _every_row(rows), 0))

    def transpose(self, position, t, indices, weights, slot_of, x, g):
        rows = Rows(indices, weights, slot_of)
        if x is None:
            return put_slices(self.contraction.input_grad(take_weighted(g, rows, 0), t), rows, 0)
        y = self.contraction.forward(take_slices(x, rows, 0), t)
        return put_slices(weighted(y, rows, 0), rows, 0)


def _every_row(rows: Rows) -> Rows:
    """All rows, each with its weight in the sample: 0 where it was not drawn."""
    return Rows(rows.slot_of, jnp.take(rows.weights, rows.slot_of, mode="fill", fill_value=0), rows.slot_of)


class _Estimate(Protocol):
    """A contraction of x and kernel in one of the modes; those that estimate its value may be given scores."""

    def __call__(
        self,
        contraction: Contraction,
        method: MC,
        key: jax.Array,
        scores: jax.Array | None,
        x: jax.Array,
        kernel: jax.Array,
        /,
    ) -> Estimated: ...


def _forward(contraction: Contraction, method: MC, key, scores, x, kernel):
    return contraction.forward_estimate(method, key, scores, x, kernel)


def _straight_through(contraction: Contraction, method: MC, key, scores, x, kernel):
    y, scores = contraction.forward_estimate(method, key, scores, *lax.stop_gradient((x, kernel)))
    return _with_tangents(contraction, None, key, x, kernel, y), scores


def _kernel(contraction: Contraction, method: MC, key, _, x, kernel):
    if method.size(x.shape[0]) == x.shape[0]:
        return contraction.forward(x, kernel), None
    y = contraction.forward(*lax.stop_gradient((x, kernel)))
    return _with_tangents(contraction, method, key, x, kernel, y), None


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_tangents(contraction: Contraction, method: MC | None, key, x, kernel, y):
    """y with the tangents of the exact contraction; by a method, that of the kernel is an estimate.

    y is computed outside, where a policy of `jax.checkpoint` sees its products and can keep them.
    """
    return y


@functools.partial(_with_tangents.defjvp, symbolic_zeros=True)
def _with_tangents_jvp(contraction, method, primals, tangents):
    (key, x, kernel, y), (_, x_tangent, kernel_tangent, _) = primals, tangents
    terms = []
    if not isinstance(x_tangent, SymbolicZero):
        terms.append(contraction.forward(x_tangent, kernel))
    if not isinstance(kernel_tangent, SymbolicZero):
        of_kernel = (
            functools.partial(contraction.forward, x)
            if method is None
            else functools.partial(contraction.kernel_tangent_estimate, method, key, x)
        )
        terms.append(of_kernel(kernel_tangent))
    y = _with_tangents(contraction, method, key, x, kernel, y)
    return y, sum(terms[1:], terms[0]) if terms else jnp.zeros_like(y)


@dataclasses.dataclass(frozen=True)
class _WithEstimatedTransposes(multilinear.Map):
    """The exact contraction; its transposes, by a key, are estimates."""

    contraction: Contraction
    method: MC

    extras = 1

    def __call__(self, key, x, kernel):
        return self.contraction.forward(x, kernel)

    def transpose(self, position, g, key, x, kernel):
        input_key, kernel_key = jax.random.split(key)
        if x is None:
            return self.contraction.input_grad_estimate(self.method, input_key, g, kernel)
        return self.contraction.kernel_grad_estimate(self.method, kernel_key, x, g)


def _backward(contraction: Contraction, method: MC, key, _, x, kernel):
    return multilinear.apply(_WithEstimatedTransposes(contraction, method), key, x, kernel), None


_IN_ORDER = (_forward, _backward, _straight_through, _kernel)
_BY_MODE: dict[str, _Estimate] = dict(zip(MODES, _IN_ORDER, strict=True))


def estimate(
    contraction: Contraction,
    method: MC,
    key: jax.Array | None,
    scores: jax.Array | None,
    x: jax.Array,
    kernel: jax.Array,
) -> Estimated:
    """`contraction.forward(x, kernel)`, of which the value or the gradients (by the mode) are estimated from a sample.

    Args:
        contraction: the product.
        method: how it is sampled.
        key: a PRNG key, or None for the exact value.
        scores: `(n,)` of the rows of the value's sum, to draw by in the place of their own; or None.
        x, kernel: as for `contraction.forward`.

    Raises:
        ValueError: if `key` is not one PRNG key, or scores do not fit.
    """
    if key is None:
        return contraction.forward(x, kernel), None
    check_key(key)
    if scores is not None and not method.samples_the_value:
        raise ValueError(f'scores must be None in mode "{method.mode}", which draws no row of the value')
    return _estimate(contraction, method, *same_varying(key, scores, x, kernel))


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def _estimate(contraction: Contraction, method: MC, *operands: Any) -> Estimated:
    return _BY_MODE[method.mode](contraction, method, *operands)
