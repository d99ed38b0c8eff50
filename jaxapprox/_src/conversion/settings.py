"""Settings of Flax's layers in the forms that people give them."""

from typing import Any


def integers(setting: Any) -> Any:
    """A setting with NumPy's integers, arrays and lists of integers as Python's integers and tuples of them.

    >>> import numpy as np
    >>> from jaxapprox._src.conversion.settings import integers
    >>> integers(np.array([[1, 0], [2, 2]])), integers([np.int64(3), 1]), integers("SAME")
    (((1, 0), (2, 2)), (3, 1), 'SAME')
    """
    if hasattr(setting, "tolist"):
        setting = setting.tolist()
    return tuple(map(integers, setting)) if isinstance(setting, list | tuple) else setting
