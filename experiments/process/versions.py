"""The versions of what results come from."""

import importlib.metadata
import platform

_PACKAGES = ("jaxapprox", "jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str | None]:
    """Those of Python and of the packages that programs compute with; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
