"""Registries map names to functions, by import paths, so that to list the names imports neither JAX nor Flax.

To add a sampler, write its function (see `jaxapprox.Sampler`) and add its line to `SAMPLERS` below, or outside of the
library call `SAMPLERS.register`. Command lines take the new name, and messages list it.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from jaxapprox._src.sampling.samplers import Sampler

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to objects, each imported when it is first asked for.

    >>> from jaxapprox.registry import Registry
    >>> roots = Registry("root", square="math:sqrt")
    >>> roots.register("cubic", "math:cbrt")
    >>> list(roots), roots["cubic"](8.0)
    (['square', 'cubic'], 2.0)

    Args:
        kind: the kind of the objects, as messages call it.
        **places: by name, the object's import path "module:attribute".
    """

    def __init__(self, kind: str, **places: str):
        self.kind = kind
        self._entries: dict[str, str | T] = dict(places)

    def register(self, name: str, entry: str | T) -> None:
        """Adds a name.

        Args:
            name: a new name.
            entry: the object, or its import path "module:attribute".

        Raises:
            ValueError: if the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"name must be a new {self.kind}, got {name!r}, which is registered")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        """The object of that name, imported on first use.

        Raises:
            KeyError: if it is not registered; the message lists the names that are.
            ValueError: if its import path leads nowhere.
        """
        if name not in self._entries:
            raise KeyError(f"{self.kind} must be one of {', '.join(self)}, got {name!r}")
        entry = self._entries[name]
        if isinstance(entry, str):
            try:
                self._entries[name] = entry = pkgutil.resolve_name(entry)
            except (ImportError, AttributeError) as error:
                raise ValueError(f"{self.kind} {name!r} must be something to import, got {entry!r}: {error}") from error
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # `Mapping` would import what it looks for

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


SAMPLERS: "Registry[Sampler]" = Registry(
    "sampler",
    topk="jaxapprox._src.sampling.samplers:topk",
    uniform="jaxapprox._src.sampling.samplers:uniform",
    importance="jaxapprox._src.sampling.samplers:importance",
    bernoulli="jaxapprox._src.sampling.samplers:bernoulli",
    systematic="jaxapprox._src.sampling.samplers:systematic",
)
"""The samplers by name: see `jaxapprox.Sampler`."""
