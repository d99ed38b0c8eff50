"""How many seeds are trained: in turn, at once on a device, or split over all devices."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from experiments.process.errors import UsageError

_SEED, _DATA = "seed", "data"


@dataclasses.dataclass(frozen=True)
class SeedAxis:
    """The leading axis, of `members` seeds, of every array that differs from seed to seed.

    Attributes:
        kind: as `--seed-axis`.
        members: how many are trained at once.
        mesh: of `shard`, with the axes "seed" and "data".
        device: the described one that programs are compiled for; None for this machine's own.
    """

    kind: Literal["map", "vmap", "shard"]
    members: int
    mesh: Mesh | None = None
    device: Any = None

    @property
    def platform(self) -> str:
        """What the programs run on, as JAX names it."""
        devices = [self.device] if self.mesh is None else list(self.mesh.devices.flat)
        return jax.default_backend() if devices[0] is None else devices[0].platform

    @property
    def shards(self) -> int:
        """Over how many devices, or groups of them, the members are split."""
        return 1 if self.mesh is None else self.mesh.shape[_SEED]

    def lift(self, function: Callable[..., Any], by_seed: Sequence[bool]) -> Callable[..., Any]:
        """Makes a function of all members from a function of one seed.

        Args:
            function: any.
            by_seed: of each of its arguments, whether it differs from seed to seed.
        """
        in_axes = tuple(0 if own else None for own in by_seed)
        # With one seed on a device the program is that of one seed, to the bit.
        local = jax.vmap(function, in_axes) if self.members > self.shards else _with_axis_of_one(function, by_seed)
        if self.mesh is None:
            return local
        specs = tuple(PartitionSpec(_SEED) if own else PartitionSpec() for own in by_seed)
        return jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=specs,
            out_specs=PartitionSpec(_SEED),
            axis_names={_SEED},  # XLA itself splits what lies along the other one
            check_vma=False,
        )

    def constrain(self, batch: Any) -> Any:
        """Splits a batch along the mesh's axis "data"."""
        if self.mesh is None or self.mesh.shape[_DATA] == 1:
            return batch
        split = NamedSharding(self.mesh, PartitionSpec(_DATA))
        return jax.tree.map(lambda a: lax.with_sharding_constraint(a, split), batch)

    def put(self, tree: Any, *, by_seed: bool) -> Any:
        """Host arrays, the same in all processes, to the devices."""
        sharding = self.sharding(by_seed=by_seed)
        if sharding is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(
            lambda a: jax.make_array_from_callback(np.shape(a), sharding, lambda index: np.asarray(a)[index]), tree
        )

    def shapes(self, tree: Any, *, by_seed: bool) -> Any:
        """What `put` would give, as shapes."""
        sharding = self.sharding(by_seed=by_seed)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), a.dtype, sharding=sharding), tree)

    def sharding(self, *, by_seed: bool) -> Sharding | None:
        """Where arrays that differ from seed to seed lie, or those that do not; None for JAX's only device."""
        if self.mesh is None:
            return None if self.device is None else SingleDeviceSharding(self.device)
        return NamedSharding(self.mesh, PartitionSpec(_SEED) if by_seed else PartitionSpec())


def make_mesh(
    shape: tuple[int, int] | None, members: int, batch_size: int, devices: Sequence[Any] | None = None
) -> Mesh:
    """The mesh of all devices, JAX's own unless others are given, in the shape of `--mesh`.

    By default as many as divide `members` lie along "seed", and the others along "data".

    Raises:
        UsageError: if the shape does not divide the work, or the devices do not make the shape.
    """
    devices = jax.devices() if devices is None else devices
    if shape is None:
        over_seeds = math.gcd(members, len(devices))
        shape = over_seeds, len(devices) // over_seeds
    if math.prod(shape) != len(devices):
        raise UsageError(f"--mesh must use all {len(devices)} devices, got {shape[0]} x {shape[1]}")
    if members % shape[0]:
        raise UsageError(f"--mesh must divide the {members} seeds (by settings compiled as one), got {shape[0]}")
    if batch_size % shape[1]:
        raise UsageError(f"--mesh must divide the batch size, {batch_size}, got {shape[1]} devices to split it over")
    return Mesh(np.array(devices).reshape(shape), (_SEED, _DATA))


def _with_axis_of_one(function: Callable[..., Any], by_seed: Sequence[bool]) -> Callable[..., Any]:
    def lifted(*arguments: Any) -> Any:
        pairs = zip(arguments, by_seed, strict=True)
        result = function(*(jax.tree.map(lambda a: jnp.squeeze(a, 0), a) if own else a for a, own in pairs))
        return jax.tree.map(lambda a: a[None], result)

    return lifted
