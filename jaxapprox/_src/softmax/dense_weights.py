"""A dense layer's parameters as rows of classes, and back."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def rows_of_dense(params: Mapping[str, jax.Array], *, delete: bool = False) -> dict[str, jax.Array]:
    """The parameters of a dense output layer as rows: what a class has lies together, as training on rows needs it.

    An embedding that is an output layer too (`flax.linen.Embed`) has its rows already: it is its own weights.

    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import dense_of_rows, rows_of_dense
    >>> params = {"kernel": jnp.ones((8, 1000)), "bias": jnp.zeros(1000)}
    >>> rows = rows_of_dense(params, delete=True)
    >>> rows["weights"].shape, params["kernel"].is_deleted()
    ((1000, 8), True)
    >>> dense_of_rows(rows)["kernel"].shape
    (8, 1000)

    Args:
        params: "kernel" `(features, classes)`, and "bias" `(classes,)` if the layer has one, as `flax.linen.Dense` has.
        delete: delete the kernel once it is copied, so that there are two for no longer than the copying takes. Under
            `jit`, where XLA frees what is not used any more, that must be False.

    Returns:
        "weights" `(classes, features)`, and "bias" if there is one, the same array.

    Raises:
        ValueError: if there is no kernel of two axes.
    """
    return _transposed(params, "kernel", "weights", delete)


def dense_of_rows(rows: Mapping[str, jax.Array], *, delete: bool = False) -> dict[str, jax.Array]:
    """The inverse of `rows_of_dense`.

    Args:
        rows: "weights" `(classes, features)`, and "bias" if there is one.
        delete: as there, of the weights.

    Returns:
        "kernel" `(features, classes)`, and "bias" if there is one.

    Raises:
        ValueError: if there are no weights of two axes.
    """
    return _transposed(rows, "weights", "kernel", delete)


def _transposed(params: Mapping[str, jax.Array], name: str, becomes: str, delete: bool) -> dict[str, jax.Array]:
    if name not in params or jnp.ndim(params[name]) != 2:
        got = f"shape {jnp.shape(params[name])}" if name in params else f"only {', '.join(params) or 'nothing'}"
        raise ValueError(f"params must hold {name}, of two axes, got {got}")
    matrix = jnp.asarray(params[name])
    new = {becomes: jnp.swapaxes(matrix, 0, 1), **{other: params[other] for other in params if other != name}}
    if delete:
        jax.block_until_ready(new)
        matrix.delete()
    return new
