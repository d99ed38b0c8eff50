"""Programs in HLO, written by hand, and what a count finds in them."""

import dataclasses

from experiments.compiler.chips import Chip
from experiments.compiler.roofline import Count, count

CHIP = Chip(1e12, 1e9, 2**30, 2, 16, "")


def assert_counted(body: str, others: str = "", **expected: float) -> None:
    """Counts an entry computation of these lines, and asserts what is found; of what is not named, nothing."""
    text = f"HloModule test\n\n{others}\nENTRY %main (p: f32[8]) -> f32[8] {{\n{body}\n}}\n"
    found = dataclasses.asdict(count(text, CHIP))
    ignored = {"seconds", "kernels"} - expected.keys()
    assert {name: value for name, value in found.items() if name not in ignored} == {
        **{name: value for name, value in dataclasses.asdict(Count()).items() if name not in ignored},
        **expected,
    }
