"""How the ResNet-18 of the part tpu is trained, by the names that the command line gives."""

from typing import Any

_BLOCKS = {"unit": "block", "min_blocks": 4}  # from 512 input channels on

CHIP_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "exact": ("exact", {}),
    "mc 0.5 topk": ("mc", {"ratios": (0.5,), "samplers": ("topk",)}),
    "mc 0.5 block": ("mc", {"ratios": (0.5,), "samplers": ("systematic",), **_BLOCKS}),
    "mc 0.5 block, every 10": (
        "mc",
        {"ratios": (0.5,), "samplers": ("systematic",), "resample_every": 10, **_BLOCKS},
    ),
    "mc 0.25 block": ("mc", {"ratios": (0.25,), "samplers": ("systematic",), **_BLOCKS}),
}
"""The method, and options of `experiments.cifar`."""

SWEPT = ("exact", "mc 0.5 topk")
"""Those of which there are sweeps: a network of width 16 has no layer of so many blocks."""
