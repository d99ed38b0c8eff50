"""Compiled HLO as text (`compiled.as_text()`), read: computations, instructions, and arrays with their layouts."""

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

HBM, VMEM = 0, 1  # memory spaces of TPU layouts: no "S" is the first, S(1) the second

_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_METADATA = re.compile(r"\{kernel_metadata=\{.*?\}\}", re.DOTALL)  # the one thing that is on several lines
_HEADER = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*-> .*\{$")
_ASSIGNED = re.compile(r"\s+(ROOT )?%([\w.\-]+) = ")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_COMMENT = re.compile(r"/\*.*?\*/")


class Shape(NamedTuple):
    """An array.

    Attributes:
        dtype: as HLO names it.
        dims: its sizes.
        minor_to_major: the order in which its axes lie in memory.
        tiles: of its layout, the outermost first.
        space: of memory, where it lies.
    """

    dtype: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    tiles: tuple[tuple[int, ...], ...] = ()
    space: int = HBM

    @property
    def bytes(self) -> int:
        """Those that it takes up, with what fills its tiles; of a single number, its own."""
        bits = 8 if self.dtype == "pred" else int(next(iter(re.findall(r"\d+", self.dtype)), 0))
        if not self.dims:
            return math.ceil(bits / 8)
        sizes = [self.dims[axis] for axis in reversed(self.minor_to_major)] or list(self.dims)
        for tile in self.tiles:
            sizes = [1] * (len(tile) - len(sizes)) + sizes
            outer, inner = sizes[: len(sizes) - len(tile)], sizes[len(sizes) - len(tile) :]
            sizes = [*outer, *(math.ceil(size / of) for size, of in zip(inner, tile, strict=True)), *tile]
        return math.ceil(math.prod(sizes) * bits / 8)


class Instruction(NamedTuple):
    """A line of a computation.

    Attributes:
        name: within its computation.
        opcode: what it does.
        shapes: of its result, the leaves of a tuple in order.
        operands: names of instructions of the same computation.
        literal: what stands in the place of operands, such as a constant's value or a parameter's number.
        attributes: the rest of the line.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str

    def named(self, attribute: str) -> str | None:
        """The computation, or other single word, that an attribute names."""
        found = re.search(rf"\b{attribute}=[%\"]?([\w.\-]+)", self.attributes)
        return found and found[1]

    @property
    def branches(self) -> list[str]:
        """The computations among which a conditional chooses."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if listed:
            return _NAME.findall(listed[1])
        return [name for side in ("true", "false") if (name := self.named(f"{side}_computation"))]


class Computation(NamedTuple):
    """A sequence of instructions, the last of which need not be the root.

    Attributes:
        name: within its program.
        instructions: by name, in order.
        root: the one that makes the result.
    """

    name: str
    instructions: dict[str, Instruction]
    root: Instruction

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """The instructions that make its operands."""
        return [self.instructions[name] for name in instruction.operands]

    @property
    def parameters(self) -> list[Instruction]:
        """By number."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return sorted(found, key=lambda parameter: int(parameter.literal))


class Program(NamedTuple):
    """A module: its computations by name, and the name of the one that is called from outside."""

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """Reads the text of a compiled module.

    Raises:
        ValueError: if it has no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry = ""
    lines = iter(_METADATA.sub(lambda found: found[0].replace("\n", ""), text).splitlines())
    for line in lines:
        header = _HEADER.match(line)
        if header:
            computations[header[2]] = _computation(header[2], lines)
            entry = header[2] if header[1] else entry
    if not entry:
        raise ValueError("HLO text must have a computation that begins with ENTRY")
    return Program(computations, entry)


def shapes_in(text: str) -> tuple[Shape, ...]:
    """The arrays of a type, which may be a tuple, in order."""
    return tuple(_shape(*found) for found in _SHAPE.findall(text))


def _computation(name: str, lines: Iterator[str]) -> Computation:
    instructions: dict[str, Instruction] = {}
    root = None
    for line in lines:
        if line.startswith("}"):
            break
        assigned = _ASSIGNED.match(line)
        if assigned:
            instruction = _instruction(assigned[2], _COMMENT.sub("", line[assigned.end() :]))
            instructions[instruction.name] = instruction
            root = instruction if assigned[1] else root
    return Computation(name, instructions, root or instruction)


def _instruction(name: str, text: str) -> Instruction:
    type_end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    opcode = _OPCODE.match(text, type_end)
    if opcode is None:
        raise ValueError(f"HLO instruction must have an opcode, got {text[:200]}")
    end = _closing(text, opcode.end() - 1)
    inner = text[opcode.end() : end - 1]
    return Instruction(
        name, opcode[1], shapes_in(text[:type_end]), tuple(_NAME.findall(inner)), inner.strip(), text[end:]
    )


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` has been closed."""
    depth = 0
    for found in re.finditer(r"[()]", text[start:]):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return start + found.end()
    raise ValueError(f"HLO instruction must close its parentheses, got {text[:200]}")


@functools.cache
def _shape(dtype: str, dims: str, layout: str) -> Shape:
    order, _, rest = layout.partition(":")
    tiled = re.match(r"T((?:\([\d,]+\))+)", rest)
    tiles = re.findall(r"\(([\d,]+)\)", tiled[1]) if tiled else []
    space = re.search(r"S\((\d+)\)", rest)
    return Shape(
        dtype,
        _numbers(dims.replace("<=", "")),
        _numbers(order),
        tuple(map(_numbers, tiles)),
        int(space[1]) if space else 0,
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
