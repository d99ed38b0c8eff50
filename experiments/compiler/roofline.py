"""A compiled program's operations, bytes, collectives and least time, counted over its kernels."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from experiments.compiler.chips import Chip
from experiments.compiler.hlo import HBM, VMEM, Computation, Instruction, Program, parse
from experiments.compiler.products import flops
from experiments.compiler.traffic import moved
from experiments.compiler.trips import trips

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
    "collective-broadcast",
)
_PALLAS = "tpu_custom_call"


@dataclasses.dataclass(frozen=True)
class Count:
    """What a program does on one chip.

    Attributes:
        flops: additions and multiplications of matrix products and convolutions, those with padding left out.
        bytes: read from and written to the chip's main memory (HBM).
        on_chip_bytes: read from and written to its vector memory (VMEM).
        seconds: at least: the sum over kernels of the larger of bytes and operations over their peak rates.
        kernels: how many are started.
        estimated_cycles: what XLA itself expects them to take; it says nothing of some, such as gathers.
        collectives: how many times chips exchange something.
        collective_bytes: the larger of what they take and give; their time is not in `seconds`.
        unknown_loops: of which the number of turns can't be told; each is counted as one turn.
    """

    flops: float = 0
    bytes: float = 0
    on_chip_bytes: float = 0
    seconds: float = 0
    kernels: float = 0
    estimated_cycles: float = 0
    collectives: float = 0
    collective_bytes: float = 0
    unknown_loops: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def times(self, turns: int) -> "Count":
        """That of so many turns; the loops are the same."""
        numbers = {name: turns * value for name, value in dataclasses.asdict(self).items()}
        return Count(**numbers | {"unknown_loops": self.unknown_loops})


def count(text: str, chip: Chip) -> Count:
    """Counts a compiled module, given as text, for a chip."""
    program = parse(text)
    return _Counter(program, chip).of(program.entry)


def count_turn(text: str, chip: Chip, depth: int) -> Count:
    """Counts one turn of a loop whose number of turns the program is told when it runs.

    Args:
        text: of a compiled module.
        chip: that it is counted for.
        depth: how deep that loop lies: 1 for the costliest such loop, 2 for the costliest one within it.
    """
    program = parse(text)
    counter = _Counter(program, chip)
    name = program.entry
    for _ in range(depth):
        name = max(counter.unknown(name), key=lambda body: counter.of(body).seconds, default=name)
    return counter.of(name)


class _Counter:
    """Counts the computations of a program, each once."""

    def __init__(self, program: Program, chip: Chip):
        self._program, self._chip = program, chip
        self._counted: dict[str, Count] = {}

    def of(self, name: str) -> Count:
        """One run of a computation."""
        if name not in self._counted:
            computation = self._program.computations[name]
            each = (self._of(computation, instruction) for instruction in computation.instructions.values())
            self._counted[name] = sum(each, Count())
        return self._counted[name]

    def unknown(self, name: str) -> list[str]:
        """The bodies of a computation's loops whose turns can't be told, but of none within these."""
        computation = self._program.computations[name]
        found: list[str] = []
        for instruction in computation.instructions.values():
            body = instruction.named("body") or ""
            if instruction.opcode == "while" and trips(self._program, computation, instruction) is None:
                found.append(body)
                continue
            called = {
                "while": [body],
                "conditional": instruction.branches,
                "call": [instruction.named("to_apply") or ""],
            }
            found += [inner for each in called.get(instruction.opcode, ()) for inner in self.unknown(each)]
        return found

    def _of(self, computation: Computation, instruction: Instruction) -> Count:
        opcode = instruction.opcode
        if opcode == "while":
            turn = self.of(instruction.named("body") or "") + self.of(instruction.named("condition") or "")
            turns = trips(self._program, computation, instruction)
            return turn + Count(unknown_loops=1) if turns is None else turn.times(turns)
        if opcode == "conditional":
            return max(map(self.of, instruction.branches), key=lambda branch: branch.seconds)
        if opcode == "call":
            return self.of(instruction.named("to_apply") or "")
        if opcode == "async-start":
            return self.of(instruction.named("calls") or "")
        return self._kernel(computation, instruction)

    def _kernel(self, computation: Computation, instruction: Instruction) -> Count:
        traffic = moved(self._program, computation, instruction)
        operations, transferred = flops(self._program, computation, instruction), traffic[HBM]
        stated = cost_estimate(instruction)
        if stated:
            operations, transferred = stated["flops"], stated["bytes_accessed"]
            transferred -= _in_vector_memory(computation, instruction)
        exchanged = self._exchanged(computation, instruction)
        return Count(
            flops=operations,
            bytes=transferred,
            on_chip_bytes=traffic[VMEM],
            seconds=max(operations / self._chip.flops_per_second, transferred / self._chip.bytes_per_second),
            kernels=int(bool(traffic)),
            estimated_cycles=_estimated_cycles(instruction),
            collectives=len(exchanged),
            collective_bytes=sum(exchanged),
        )

    def _exchanged(self, computation: Computation, instruction: Instruction) -> list[int]:
        """The bytes of each collective that an instruction is, or that is within a fusion."""
        if instruction.opcode == "fusion":
            inner = self._program.computations[instruction.named("calls") or ""]
            return [size for each in inner.instructions.values() for size in self._exchanged(inner, each)]
        if instruction.opcode.removesuffix("-start") not in _COLLECTIVES:
            return []
        taken = sum(shape.bytes for operand in computation.operands(instruction) for shape in operand.shapes)
        given = sum(shape.bytes for shape in instruction.shapes)
        return [max(taken, given - taken if instruction.opcode.endswith("-start") else given)]


def _in_vector_memory(computation: Computation, instruction: Instruction) -> int:
    """Bytes that a Pallas kernel says it moves for arrays that XLA keeps in VMEM.

    Its metadata may have "moved", bytes for each of its last operands and its results, as kernels of jaxapprox do.
    """
    found = re.search(r'"moved":"([\d ]+)"', instruction.attributes)
    if found is None:
        return 0
    sizes = list(map(int, found[1].split()))
    shapes = [shape for operand in computation.operands(instruction) for shape in operand.shapes]
    arrays = [*shapes, *instruction.shapes][-len(sizes) :]
    return sum(size for size, shape in zip(sizes, arrays, strict=True) if shape.space == VMEM)


def _estimated_cycles(instruction: Instruction) -> int:
    found = re.search(r'"estimated_cycles":"(\d+)"', instruction.attributes)
    return int(found[1]) if found else 0


def cost_estimate(instruction: Instruction) -> Mapping[str, Any] | None:
    """What a Pallas kernel states of its "flops" and "bytes_accessed"; None for whatever is none, or states nothing."""
    if instruction.named("custom_call_target") != _PALLAS:
        return None
    begin = re.search(r'"cost_estimate":\s*', instruction.attributes)
    if begin is None:
        return None
    stated, _ = json.JSONDecoder().raw_decode(instruction.attributes, begin.end())
    names = ("flops", "bytes_accessed")
    return {name: float(stated[name]) for name in names} if stated.keys() >= set(names) else None
