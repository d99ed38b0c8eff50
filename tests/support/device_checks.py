"""Public functions on four devices: a program that prints a line of JSON for each check, its name and what went wrong.

A process of its own, because JAX has to know the number of devices before it starts. Everything is traced on meshes of
both types, where JAX checks what lies where; and computed where a value or the compiled program could be wrong.
"""

import functools
import math
import re

import jax

if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 4)

import numpy as np
from device_program import run
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from public_calls import BATCH, CALLS, ONE_OF_EACH_KIND, Call, with_gradients
from quick_compilation import jit

KEY = jax.random.key(5)
NAMES = [name for name, call in CALLS.items() if call.examples]
EXPLICIT = [name for name in NAMES if not name.startswith("active_layers")]  # those are for batches of one
SPLIT = [name for name in NAMES if CALLS[name].split]
COMPUTED = [name for name in ONE_OF_EACH_KIND if name in EXPLICIT]
SPLIT_EXPLICIT = [name for name in SPLIT if np.ndim(CALLS[name].weights[0]) == 2]  # JAX's convolution refuses the rest
SOME = (  # with kernels to split
    *("mc_conv, unit channel, mode backward", "mc_dense, mode forward", "mc_dense, mode kernel", "nnx.MCConv"),
)
HASHED = ("lsh.active_set, select union, many units", "linen.ALSHDense")


def mesh_of(kind: AxisType, *sizes: int):
    return jax.make_mesh(sizes, ("data", "model")[: len(sizes)], axis_types=(kind,) * len(sizes))


def specs_of(call: Call, split: bool):
    """Where the arrays lie: examples along `data`, and of weights that can be split the last axis along `model`."""
    weights = [
        P(*[None] * (np.ndim(array) - 1), "model") if split and i < call.split else P()
        for i, array in enumerate(call.weights)
    ]
    return (*[P("data")] * len(call.examples), *weights)


def shard_mapped(call: Call, mesh, split: bool):
    """The call on each shard with a key of its own; outputs stacked, gradients as long as the arrays."""
    axes, specs = mesh.axis_names, specs_of(call, split)

    def on_shard(key, *arrays):
        key = jax.random.fold_in(key, jax.lax.axis_index(axes))
        result = with_gradients(call)(key, *arrays)
        y, gradients = result if call.has_gradient else (result, ())
        return jax.tree.map(lambda leaf: leaf[None], y), gradients

    gradients = tuple(s for s, a in zip(specs, call.arrays, strict=True) if a_float(a)) if call.has_gradient else ()
    return jax.shard_map(on_shard, mesh=mesh, in_specs=(P(), *specs), out_specs=(P(axes), gradients))


def a_float(array) -> bool:
    return hasattr(array, "dtype") and array.dtype == np.float32


def shard_map_traced(name: str, *, split: bool):
    """On a mesh of type Explicit, the default of `jax.make_mesh`; inside, axes are manual whatever they were."""
    call = CALLS[name]
    mesh = mesh_of(AxisType.Explicit, 2, 2) if split else mesh_of(AxisType.Explicit, 4)
    with jax.set_mesh(mesh):
        jax.eval_shape(shard_mapped(call, mesh, split), KEY, *placed(call, mesh, split, abstract=True))


def placed(call: Call, mesh, split: bool, abstract: bool = False):
    def place(spec, array):
        where = NamedSharding(mesh, spec)
        if abstract:
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), array)
        return jax.device_put(array, where)

    return [place(spec, array) for spec, array in zip(specs_of(call, split), call.arrays, strict=True)]


def shard_map_computed(name: str):
    """What each shard gives is what its examples and key give alone; gradients in weights are the shards' sum."""
    call, mesh = CALLS[name], mesh_of(AxisType.Auto, 4)
    y, gradients = jit(shard_mapped(call, mesh, False))(KEY, *placed(call, mesh, False))
    alone = jit(with_gradients(call))
    parts = []
    for i in range(4):
        own = [array[2 * i : 2 * i + 2] for array in call.examples]
        result = alone(jax.random.fold_in(KEY, i), *own, *call.weights)
        parts.append(result if call.has_gradient else (result, ()))
    close(y, jax.tree.map(lambda *leaves: np.stack(leaves), *(y for y, _ in parts)))
    n = len([array for array in call.examples if a_float(array)])
    for i, gradient in enumerate(gradients):
        own = [np.asarray(part[i]) for _, part in parts]
        close(gradient, np.concatenate(own) if i < n else np.sum(own, 0))


def explicit_traced(name: str, *, split: bool):
    call = CALLS[name]
    mesh = mesh_of(AxisType.Explicit, 2, 2) if split else mesh_of(AxisType.Explicit, 4)
    with jax.set_mesh(mesh):
        jax.eval_shape(with_gradients(call), KEY, *placed(call, mesh, split, abstract=True))


@functools.cache
def on_one_device(name: str):
    return jit(with_gradients(CALLS[name]))(KEY, *CALLS[name].arrays)


def jit_computed(name: str, *, kind: AxisType = AxisType.Auto, split: bool = False):
    """The result is one device's, and no device gathers examples of others."""
    call = CALLS[name]
    mesh = mesh_of(kind, 2, 2) if split else mesh_of(kind, 4)
    arrays = placed(call, mesh, split)
    with jax.set_mesh(mesh):
        compiled = jit(with_gradients(call)).lower(KEY, *arrays).compile()
        actual = compiled(KEY, *arrays)
    close(actual, on_one_device(name))
    for shape, operation in re.findall(
        r"= \w+\[([\d,]+)\]\S* (all-gather|all-to-all|collective-permute)", compiled.as_text()
    ):
        axes = [int(n) for n in shape.split(",")]
        is_whole = any(n % BATCH == 0 for n in axes) and math.prod(axes) > BATCH  # a number for each example may travel
        assert not is_whole, f"{operation} of {shape}: all examples on each device"


def pmap_traced(name: str):
    call = CALLS[name]
    stacked = [array.reshape(4, 2, *array.shape[1:]) for array in call.examples]
    axes = (0, *[0] * len(stacked), *[None] * len(call.weights))
    function = jax.pmap(with_gradients(call), in_axes=axes)
    jax.eval_shape(function, jax.random.split(KEY, 4), *stacked, *call.weights)


def close(actual, expected):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), actual, expected)


# What is tried, of which calls.
CHECKS = {
    "shard_map": (functools.partial(shard_map_traced, split=False), NAMES),
    "shard_map, split kernels": (functools.partial(shard_map_traced, split=True), SPLIT),
    "Explicit mesh": (functools.partial(explicit_traced, split=False), EXPLICIT),
    "Explicit mesh, split kernels": (functools.partial(explicit_traced, split=True), SPLIT_EXPLICIT),
    "pmap": (pmap_traced, NAMES),
    "jit of a split batch": (jit_computed, COMPUTED),
    "jit of a split batch, split kernels": (functools.partial(jit_computed, split=True), SOME),
    "jit of a split batch, Explicit mesh": (functools.partial(jit_computed, kind=AxisType.Explicit), (*SOME, *HASHED)),
    "shard_map, computed": (shard_map_computed, (*SOME, *HASHED)),
}


if __name__ == "__main__":
    run(
        {
            f"{title}: {name}": functools.partial(check, name)
            for title, (check, names) in CHECKS.items()
            for name in names
        }
    )
