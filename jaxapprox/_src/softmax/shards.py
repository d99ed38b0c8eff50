"""Classes split over the devices of a mesh axis: class c is row c // devices on device c % devices.

So classes that are sorted by frequency are spread evenly: each device has its part of the frequent ones.
"""

import jax
import jax.numpy as jnp
from jax import lax


def shard_classes(array: jax.Array, devices: int) -> jax.Array:
    """Rows in an order whose equal consecutive parts are the devices' rows, as `PartitionSpec("classes")` splits them.

    >>> import jax.numpy as jnp
    >>> from jaxapprox.softmax import shard_classes, unshard_classes
    >>> print(shard_classes(jnp.arange(6), 2))
    [0 2 4 1 3 5]
    >>> print(unshard_classes(shard_classes(jnp.arange(6), 2), 2))
    [0 1 2 3 4 5]

    Args:
        array: `(classes, ...)`: weights, a bias, frequencies.
        devices: over which the classes are split; must divide their number.

    Raises:
        ValueError: if `devices` does not divide the number of classes.
    """
    _check(array, devices)
    return array.reshape(-1, devices, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def unshard_classes(array: jax.Array, devices: int) -> jax.Array:
    """The inverse of `shard_classes`: rows in the order of the classes.

    Args:
        array: `(classes, ...)`, as `shard_classes` returned it.
        devices: as it was given.

    Raises:
        ValueError: if `devices` does not divide the number of classes.
    """
    _check(array, devices)
    return array.reshape(devices, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def local_rows(classes: jax.Array, rows: int, axis_name: str | None) -> jax.Array:
    """The rows of classes on this device; `rows`, which is past the last one, for what it does not have.

    Args:
        classes: ids of classes, of any shape; those out of range are nowhere.
        rows: how many there are on a device.
        axis_name: of the mesh axis; None for one device.
    """
    if axis_name is not None:
        devices = lax.axis_size(axis_name)
        is_here = classes % devices == lax.axis_index(axis_name)
        classes = jnp.where(is_here, classes // devices, rows)
    return jnp.where((classes >= 0) & (classes < rows), classes, rows)


def class_ids(rows: jax.Array, axis_name: str | None) -> jax.Array:
    """The classes of this device's rows: the inverse of `local_rows`."""
    return rows if axis_name is None else rows * lax.axis_size(axis_name) + lax.axis_index(axis_name)


def class_count(rows: int, axis_name: str | None) -> int:
    """How many classes there are on all devices, if there are `rows` on each."""
    return rows if axis_name is None else rows * lax.axis_size(axis_name)


def total(values: jax.Array, axis_name: str | None) -> jax.Array:
    """The sum over the devices."""
    return values if axis_name is None else lax.psum(values, axis_name)


def log_total(log_sums: jax.Array, axis_name: str | None) -> jax.Array:
    """log of the sum over the devices of exp(log_sums): their maximum is shared before the sum."""
    if axis_name is None:
        return log_sums
    largest = lax.pmax(lax.stop_gradient(log_sums), axis_name)
    shift = jnp.where(jnp.isneginf(largest), 0, largest)
    return shift + jnp.log(lax.psum(jnp.exp(log_sums - shift), axis_name))


def _check(array: jax.Array, devices: int) -> None:
    if array.shape[0] % devices:
        raise ValueError(f"devices must divide the number of classes, {array.shape[0]}, got {devices}")
