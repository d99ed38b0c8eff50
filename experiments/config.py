"""The options of `experiments.cifar`, for notebooks: see `experiments.cifar.config`."""

from experiments.cifar.config import Config
from experiments.process.errors import UsageError

__all__ = ["Config", "UsageError"]
