"""An object with some of its attributes overridden, for a method that reads them."""

from typing import Any


class Overriding:
    """Stands in for `base`, of which it has all attributes but those given by name.

    >>> from jaxapprox._src.overriding import Overriding
    >>> Overriding(1 + 2j, imag=5).imag, Overriding(1 + 2j, imag=5).real
    (5, 1.0)
    """

    def __init__(self, base: Any, **attributes: Any):
        self.__dict__.update(attributes, _base=base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)
