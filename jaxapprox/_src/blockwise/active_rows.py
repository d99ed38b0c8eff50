r"""A dense layer's active units alone, without an array of all units: not in the output, and not in the gradient.

`jaxapprox.lsh.active_dense` answers as a dense layer does, with zeros for inactive units, and its gradient is an array
as large as the weights. In a large layer, or at batch 1, writing those costs more than computing what is active. Here
the output is that of the active units, y_bs = w_{ids_bs} . x_b + bias_{ids_bs}, and the weights' gradient stays in its
factors,

    dL/dw_u = sum over (b, s) with ids_bs = u of g_bs x_b,    g = dL/dy,

until `add_rows` adds a multiple of it to the rows it touches. Autodiff has no such form: `pull_back` gives it. Weights
are `(units, features)`, so that a unit's are contiguous.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxapprox._src.blockwise.blocks import Block, add, add_up
from jaxapprox._src.explicit_axes import split_as, split_of
from jaxapprox._src.hashing.batches import in_groups
from jaxapprox._src.varying import same_varying

# On a CPU of two cores: 0.5 to 0.9 times the time of one at a time; all at once takes 1.5 to 4 times as long.
_AT_A_TIME = 8


class RowGradient(NamedTuple):
    """The gradient in weights and bias of a layer of which few units were active, by its factors.

    Attributes:
        ids: `(batch, size)` int32, the active units; or `(size,)`, shared by the batch, where ids may repeat, and one
            outside of the layer's units is an unused slot.
        coefficients: `(batch, size)`, the gradient in their outputs.
        x: `(batch, features)`, the inputs.
    """

    ids: jax.Array
    coefficients: jax.Array
    x: jax.Array


def forward(x: jax.Array, weights: jax.Array, bias: jax.Array | None, ids: jax.Array) -> jax.Array:
    """The outputs of the active units.

    >>> import jax.numpy as jnp
    >>> from jaxapprox import active_rows
    >>> weights, bias = jnp.ones((1000, 3)), jnp.zeros(1000)
    >>> x, ids = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[7, 42]])
    >>> y = active_rows.forward(x, weights, bias, ids)
    >>> print(y)
    [[6. 6.]]
    >>> dx, gradient = active_rows.pull_back(x, weights, ids, y)  # of |y|^2 / 2
    >>> weights, bias = active_rows.add_rows(weights, bias, gradient, -0.5)
    >>> print(weights[6:8])
    [[ 1.  1.  1.]
     [-2. -5. -8.]]

    Args:
        x: `(batch, features)`.
        weights: `(units, features)`.
        bias: `(units,)` or None.
        ids: `(batch, size)` int32, distinct in each row.

    Returns:
        `(batch, size)`, in the order of `ids`.

    Raises:
        ValueError: if a shape does not fit.
    """
    _check(x, weights, ids)

    def outputs(x, weights, bias, ids):
        y = _each_example(lambda x, ids: weights[ids] @ x, x, ids)
        return y if bias is None else y + bias[ids]

    return split_as(split_of(x, 1), outputs, *_arrays(x, weights, bias, ids))


def pull_back(x: jax.Array, weights: jax.Array, ids: jax.Array, g: jax.Array) -> tuple[jax.Array, RowGradient]:
    """The gradients of sum(g * forward(x, weights, bias, ids)) in x, and in weights and bias.

    Args:
        x, weights, ids: as given to `forward`.
        g: `(batch, size)`, the gradient in its output.

    Returns:
        `(batch, features)` and a `RowGradient`.

    Raises:
        ValueError: if a shape does not fit.
    """
    _check(x, weights, ids)
    if g.shape != ids.shape:
        raise ValueError(f"g must have the shape of ids, {ids.shape}, got {g.shape}")

    def of_inputs(weights, g, ids):
        return _each_example(lambda g, ids: g @ weights[ids], g, ids)

    dx = split_as(split_of(x, 1), of_inputs, *_arrays(weights, g, ids))
    # No coefficient before dx: all rows are read when `add_rows` writes the first, and the weights need no copy.
    dx, g = lax.optimization_barrier((dx, g))
    return dx, RowGradient(ids, g, x)


def add_rows(
    weights: jax.Array, bias: jax.Array | None, gradient: RowGradient, scale: jax.Array | float
) -> tuple[jax.Array, jax.Array | None]:
    """Weights and bias plus `scale` times the gradient: a step of gradient descent for a negative `scale`.

    Only active rows are read and written where the weights may be changed in place: in a loop's carry, or donated. (On
    a CPU, JAX before 0.12 copies the weights once all the same.)

    Args:
        weights, bias: as given to `forward`.
        gradient: from `pull_back`.
        scale: a number, or a () array.

    Returns:
        New weights and bias.
    """
    if gradient.ids.ndim == 1:
        blocks = to_blocks([gradient._replace(coefficients=scale * gradient.coefficients)], weights.shape[0])
        return add(weights, blocks["weights"]), bias if bias is None else add(bias, blocks["bias"])

    def add_example(weights, example):
        ids, coefficients, x = example
        return weights.at[ids].add(coefficients[:, None] * x[None, :], unique_indices=True), None

    def added(weights, bias, gradient, scale):
        weights, bias, gradient = same_varying(weights, bias, gradient)
        coefficients = scale * gradient.coefficients
        weights = lax.scan(add_example, weights, (gradient.ids, coefficients, gradient.x))[0]
        return weights, bias if bias is None else bias.at[gradient.ids].add(coefficients)

    weights, bias = _arrays(weights, bias)
    splits = split_of(weights), PartitionSpec() if bias is None else split_of(bias)
    return split_as(splits, added, weights, bias, gradient, scale)


def to_blocks(gradients: Sequence[RowGradient], units: int) -> dict[str, Block]:
    """The sum of gradients of one layer as blocks of its rows, as `jaxapprox.lazy` optimizers take them.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from jaxapprox import active_rows
    >>> from jaxapprox.lazy import apply_updates, lazy
    >>> params = {"weights": jnp.zeros((5, 2)), "bias": jnp.zeros(5)}
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> of_labels = active_rows.RowGradient(jnp.array([[4], [0]]), jnp.array([[1.0], [1.0]]), x)
    >>> of_shared = active_rows.RowGradient(jnp.array([4, 2]), jnp.array([[1.0, 0.0], [0.0, 1.0]]), x)
    >>> gradient = active_rows.to_blocks([of_labels, of_shared], 5)
    >>> optimizer = lazy(optax.sgd(1.0))
    >>> updates, _ = optimizer.update(gradient, optimizer.init(params))
    >>> print(apply_updates(params, updates)["weights"])
    [[-3. -4.]
     [ 0.  0.]
     [-3. -4.]
     [ 0.  0.]
     [-2. -4.]]

    Args:
        gradients: one or more. Of ids that are shared by the batch, the gradient is one matrix product; of others, each
            has its own row of features in memory.
        units: of the layer.

    Returns:
        Blocks "weights" and "bias" of the same distinct rows: what ids name more than once is added up, and unused
        slots have ids past the last unit.

    Raises:
        ValueError: if a shape does not fit.
    """
    ids, weights, bias = zip(*map(_rows_of, gradients), strict=True)
    values = {"weights": jnp.concatenate(weights), "bias": jnp.concatenate(bias)}
    return add_up(jnp.concatenate(ids), values, units)


def _rows_of(gradient: RowGradient) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Ids `(n,)`, not yet distinct, and the gradient in their rows `(n, features)` and biases `(n,)`."""
    ids, coefficients, x = gradient
    batch, size = x.shape[0], ids.shape[-1]
    if ids.shape not in ((size,), (batch, size)):
        raise ValueError(f"ids must have shape (size,) or ({batch}, size), as x has examples, got {ids.shape}")
    if coefficients.shape != (batch, size):
        raise ValueError(f"coefficients must have shape {batch, size}, as x and ids have, got {coefficients.shape}")

    def rows(ids, coefficients, x):
        if ids.ndim == 1:
            return ids, coefficients.T @ x, jnp.sum(coefficients, 0)
        values = coefficients[:, :, None] * x[:, None, :]
        return ids.reshape(-1), values.reshape(-1, x.shape[1]), coefficients.reshape(-1)

    return split_as(PartitionSpec(), rows, ids, coefficients, x)


def _each_example(function, *arrays: jax.Array) -> jax.Array:
    """`function` of each example's rows: on a CPU a few at a time, so that the rows gathered for one stay in its cache.

    On several devices the examples that a device has are in groups of their own.
    """

    def in_turn(*arrays):
        y = in_groups(lambda *group: lax.map(lambda one: function(*one), group), _AT_A_TIME, *arrays)
        return y.reshape(-1, *y.shape[2:])

    return lax.platform_dependent(*arrays, cpu=in_turn, default=jax.vmap(function))


def _arrays(*arrays: jax.Array | None) -> Any:
    return jax.tree.map(jnp.asarray, arrays)


def _check(x: jax.Array, weights: jax.Array, ids: jax.Array) -> None:
    if weights.ndim != 2:
        raise ValueError(f"weights must have shape (units, features), got {weights.shape}")
    if x.ndim != 2 or x.shape[1] != weights.shape[1]:
        raise ValueError(f"x must have shape (batch, {weights.shape[1]}), as the weights' features, got {x.shape}")
    if ids.ndim != 2 or ids.shape[0] != x.shape[0]:
        raise ValueError(f"ids must have shape ({x.shape[0]}, size), a row for each example, got {ids.shape}")
