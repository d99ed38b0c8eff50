"""Image classification data."""

from experiments.process.errors import UsageError
from jaxapprox.registry import Registry

DATASETS: Registry[object] = Registry(
    "data set",
    digits="experiments.data.datasets:load",
    mnist="experiments.data.datasets:load",
    cifar10="experiments.data.datasets:load",
)


def check_data(name: str) -> None:
    if name not in DATASETS and not name.startswith("tfds:"):
        raise UsageError(f"--data must be one of {', '.join(DATASETS)} or tfds:NAME, got {name}")
