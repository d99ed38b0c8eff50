"""The names of layers in what they raise."""

import contextlib
from collections.abc import Iterator

from flax import linen as nn


def path_of(module: nn.Module) -> str:
    """The names from the model down to a module, joined by "/"; empty for the model itself, or for no model's."""
    return "/".join(module.path) if module.scope is not None else ""


@contextlib.contextmanager
def naming(module: nn.Module) -> Iterator[None]:
    """Puts the path of a module, if it is part of a model, before what a ValueError says that is raised within."""
    try:
        yield
    except ValueError as error:
        path = path_of(module)
        if not path or str(error).startswith(f"{path}: "):  # by the layer itself
            raise
        raise ValueError(f"{path}: {error}") from error
