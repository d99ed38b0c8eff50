"""The parts of `experiments.bench`: a module that measures something and shows it, and a line in the registry."""

from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from jaxapprox.registry import Registry

if TYPE_CHECKING:
    from experiments.bench.options import Bench


class Part(Protocol):
    """What a part's module has. A part is measured and shown before the next one is imported."""

    def measure(self, options: "Bench") -> dict[str, Any]:
        """The part's entries of bench.json; no other part has the same names."""
        ...

    def show(self, options: "Bench", results: dict[str, Any], console: Console) -> None:
        """Prints what `measure` returned."""
        ...


PARTS: Registry[Part] = Registry(
    "part",
    kernels="experiments.bench.convolutions",
    resnet18="experiments.bench.resnet18",
    hashing="experiments.bench.hashed_layers",
    mlp="experiments.bench.mlp_step",
    sweep="experiments.bench.seeds",
    wide="experiments.bench.wide",
    transformer="experiments.bench.transformer_step",
    device="experiments.bench.device",
    tpu="experiments.bench.tpu",
)
"""The parts by the names that the command line gives them, in the order in which they are measured by default."""

ELSEWHERE = {"tpu"}
"""Those that say nothing of this machine."""

BY_NAME_ALONE = {"device", *ELSEWHERE}
"""Those that are left out by default."""
