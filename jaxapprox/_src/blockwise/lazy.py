"""Lazy optimizers: any optax optimizer, on blocks of the parameters and of its state alone."""

from typing import Any

import jax
import optax

from jaxapprox._src.blockwise.blocks import EVERYTHING, Block, add, is_block, put, take


def lazy(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """`optimizer` as it would be if each step's blocks were all the parameters there are.

    Its updates are a tree of `jaxapprox.blocks.Block` of the parameters' structure. It equals `optimizer` where every
    block is all of its array, and for plain SGD always. Otherwise what lies outside a block keeps its state
    and its value for that step: momentum does not decay there and moves nothing, second moments do not decay, and
    weight decay does not act. Counts (Adam's bias correction, schedules) go on with every step, as in TensorFlow's
    LazyAdam and PyTorch's SparseAdam; so the first steps of an entry that is rarely touched are larger than Adam's: up
    to (1 - b1) / sqrt(1 - b2) = 3.2 times the learning rate where it is first touched late. Transformations across
    parameters, as clipping by the global norm, see the blocks alone.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> from jaxapprox import active_layers
    >>> from jaxapprox.active_layers import Active
    >>> from jaxapprox.lazy import apply_updates, lazy
    >>> from jaxapprox.lsh import build
    >>> weights = jax.random.normal(jax.random.key(0), (1000, 784)) / 28
    >>> params = {"weights": weights, "bias": jnp.zeros(1000)}
    >>> tables = build(jax.random.key(1), weights)
    >>> optimizer = lazy(optax.adam(1e-3))
    >>> state = optimizer.init(params)
    >>> x = Active(None, jax.random.normal(jax.random.key(2), (1, 784)))  # all inputs
    >>> y, pull_back = active_layers.hashed(jax.random.key(3), params, tables, x, size=50, activation=jax.nn.relu)
    >>> blocks, dx = pull_back(y.values)  # the gradient of |y|^2 / 2, for 50 of the 1,000 units
    >>> blocks["weights"].values.shape
    (50, 784)
    >>> updates, state = optimizer.update(blocks, state)
    >>> params = apply_updates(params, updates)
    >>> int((params["weights"] != weights).any(1).sum()) == int((y.values > 0).sum())  # relu lets these through
    True

    Args:
        optimizer: one whose state consists of trees of the parameters' structure, and of numbers.

    Returns:
        An optax pair: `init(params)`, and `update(blocks, state, params=None)` whose updates are blocks, for
        `apply_updates`. The state is changed in place where it may be (donated, or in a loop's carry).

    References:
        Kingma, Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        where = jax.tree.map(lambda block: block.where, updates, is_leaf=is_block)
        gradient = jax.tree.map(lambda block: block.values, updates, is_leaf=is_block)
        where_of_state = optax.tree_map_params(
            optimizer, lambda _, where: where, state, where, transform_non_params=lambda _: EVERYTHING
        )
        small = jax.tree.map(take, state, where_of_state)
        small_params = None if params is None else jax.tree.map(take, params, where)
        new, small = optimizer.update(gradient, small, small_params)
        state = jax.tree.map(lambda array, where, new: put(array, Block(where, new)), state, where_of_state, small)
        return jax.tree.map(lambda block, values: block._replace(values=values), updates, new, is_leaf=is_block), state

    return optax.GradientTransformation(optimizer.init, update)


def apply_updates(params: Any, updates: Any) -> Any:
    """`optax.apply_updates` for blocks: parameters plus updates, in place where it may be.

    Args:
        params: a tree of arrays.
        updates: a tree of `jaxapprox.blocks.Block` of one structure with it.

    Returns:
        New parameters, of the dtypes that they had.
    """
    return jax.tree.map(lambda array, block: add(array, _as(array.dtype, block)), params, updates)


def _as(dtype: Any, block: Block) -> Block:
    return block._replace(values=block.values.astype(dtype))
