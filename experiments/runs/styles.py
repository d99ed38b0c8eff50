"""How figures draw each method: in the same colour in all of them, its settings told apart by shades of it."""

import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.colors import to_hex, to_rgb

THROUGH_HASH = ", through the hash"

_COLORS = {
    "standard": "C0",
    "exact": "C0",
    "mc": "C1",
    "sampled": "C1",
    "dropout": "C2",
    "alsh": "C3",
    "hashed": "C3",
    "adaptive_dropout": "C4",
    "oracle": "C9",
    "mc_backward": "C6",
    "random": "C7",
}
_OTHER_COLORS = ("C8", "C5", "navy", "teal", "indigo", "darkgoldenrod")
_MARKERS = "osD^vPX*"
_DARKEST, _PALEST = 0.15, 0.55  # shares of black and of white in a method's shades


class Style(NamedTuple):
    """How a setting is drawn, by matplotlib's names: `axes.plot(x, y, **style._asdict())`."""

    color: str
    linestyle: str
    marker: str


def method_styles(names: Iterable[str]) -> dict[str, Style]:
    """The style of each setting of one figure.

    Args:
        names: of settings: a method's, which other words may follow ("mc ratio 0.5"), such as `THROUGH_HASH`, for
            which lines are dashed. A name that ends in "_gathered" is a setting of the method before that.
    """
    names = list(dict.fromkeys(names))
    settings = list(dict.fromkeys(_setting(name) for name in names))
    styles = {}
    for name in names:
        setting = _setting(name)
        same = [other for other in settings if _method(other) == _method(name)]
        place = same.index(setting) / (len(same) - 1) if len(same) > 1 else None
        dash = "--" if name.endswith(THROUGH_HASH) else "-"
        styles[name] = Style(_shade(method_color(name), place), dash, _MARKERS[settings.index(setting) % len(_MARKERS)])
    return styles


def method_color(name: str) -> str:
    """The colour of the method that a setting's name begins with; one of a few for methods not listed here."""
    method = _method(name)
    return _COLORS.get(method) or _OTHER_COLORS[zlib.crc32(method.encode()) % len(_OTHER_COLORS)]


def _method(name: str) -> str:
    return re.split(r"\W", name, maxsplit=1)[0].removesuffix("_gathered")


def _setting(name: str) -> str:
    return name.removesuffix(THROUGH_HASH)


def _shade(color: str, place: float | None) -> str:
    """The shade of a colour at a place between 0, the darkest, and 1, the palest; the colour itself for None."""
    white = 0 if place is None else place * (_DARKEST + _PALEST) - _DARKEST
    mixed_in = 1 if white > 0 else 0
    red, green, blue = ((1 - abs(white)) * part + abs(white) * mixed_in for part in to_rgb(color))
    return to_hex((red, green, blue))
