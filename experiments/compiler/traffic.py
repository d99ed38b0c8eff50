"""Bytes that an instruction of compiled HLO reads and writes, by the memory in which they lie."""

from collections import Counter

from experiments.compiler.hlo import Computation, Instruction, Program, Shape

_FREE = {
    *("parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all", "partition-id", "replica-id"),
    *("opt-barrier", "domain", "add-dependency"),
}
_FREE_CALLS = {"AllocateBuffer", "ConcatBitcast", "Sharding", "AssumeGatherIndicesInBound"}
_SLICES = {"slice", "dynamic-slice", "gather"}
_VIEWS = {"bitcast", "get-tuple-element", "reshape"}

Traffic = Counter[int]
"""Bytes by memory space."""


def moved(program: Program, computation: Computation, instruction: Instruction) -> Traffic:
    """What an instruction moves, each array once.

    An operand of which slices alone are read counts as these slices, and a result that is updated in place as the
    update. What starts something asynchronous counts for all of it.
    """
    opcode, shapes = instruction.opcode, instruction.shapes
    if (
        opcode in _FREE
        or opcode.endswith(("-done", "-update"))
        or instruction.named("custom_call_target") in _FREE_CALLS
    ):
        return Traffic()
    if opcode == "copy-start":
        return _whole(shapes[:2])
    if opcode.endswith("slice-start"):
        source, taken = shapes[:2]
        return _of(source, taken.bytes) + _whole([taken])
    operands = computation.operands(instruction)
    if opcode == "fusion":
        return _of_fusion(program, instruction, operands)
    if opcode in _SLICES:
        (result,) = shapes
        return _of(operands[0].shapes[0], result.bytes) + _whole([result, *_shapes(operands[1:])])
    if opcode == "dynamic-update-slice":
        update = operands[1].shapes[0]
        return _of(shapes[0], update.bytes) + _whole(_shapes(operands[1:]))
    if opcode == "scatter":
        return _of(shapes[0], 2 * _updates(operands)) + _whole(_shapes(operands[len(shapes) :]))
    if opcode.endswith("-start"):  # of a collective; its result has the operands as well
        return _whole(_shapes(operands)) + _whole(shapes[len(_shapes(operands)) :] or shapes)
    return _whole([*_shapes(operands), *shapes])


def _of_fusion(program: Program, fusion: Instruction, operands: list[Instruction]) -> Traffic:
    called = program.computations[fusion.named("calls") or ""]
    total = Traffic()
    for operand, parameter in zip(operands, called.parameters, strict=True):
        whole = sum(shape.bytes for shape in operand.shapes)
        read = _read(program, called, parameter.name)
        share = 1.0 if read is None or not whole else min(1.0, read / whole)
        for shape in operand.shapes:
            total += _of(shape, round(share * shape.bytes))
    roots = called.operands(called.root) if called.root.opcode == "tuple" else [called.root]
    for root, shape in zip(roots, fusion.shapes, strict=False):
        written = _updated(program, called, root)
        total += _of(shape, shape.bytes if written is None else min(written, shape.bytes))
    return total


def _read(program: Program, computation: Computation, name: str) -> int | None:
    """Bytes that a computation reads of a value, or None for all of it."""
    if name == computation.root.name:
        return None
    total = 0
    for user in computation.instructions.values():
        for place, operand in enumerate(user.operands):
            if operand != name:
                continue
            if user.opcode in _SLICES and place == 0:
                read: int | None = user.shapes[0].bytes
            elif user.opcode == "dynamic-update-slice" and place == 0:
                read = 0
            elif user.opcode == "scatter" and place == 0:
                read = _updates(computation.operands(user))
            elif user.opcode in _VIEWS:
                read = _read(program, computation, user.name)
            elif user.opcode == "fusion":
                inner = program.computations[user.named("calls") or ""]
                parameter = inner.parameters[place]
                viewed = _seen_through(inner, inner.root) is parameter
                read = _read(program, *((computation, user.name) if viewed else (inner, parameter.name)))
            else:
                read = None
            if read is None:
                return None
            total += read
    return total


def _updated(program: Program, computation: Computation, root: Instruction) -> int | None:
    """Bytes that are written where a root updates a parameter in place, or None where it writes all of its result."""
    root = _seen_through(computation, root)
    if root.opcode == "fusion":
        inner = program.computations[root.named("calls") or ""]
        found = _updated_of(inner, inner.root)
        if found is None:
            return None
        written, number = found
        target = _seen_through(computation, computation.instructions[root.operands[number]])
        return written if target.opcode == "parameter" else None
    found = _updated_of(computation, root)
    return found and found[0]


def _updated_of(computation: Computation, root: Instruction) -> tuple[int, int] | None:
    """The bytes that an update in place writes, and the number of the parameter that it updates."""
    root = _seen_through(computation, root)
    if root.opcode not in ("dynamic-update-slice", "scatter"):
        return None
    target = _seen_through(computation, computation.instructions[root.operands[0]])
    if target.opcode != "parameter":
        return None
    operands = computation.operands(root)
    written = operands[1].shapes[0].bytes if root.opcode == "dynamic-update-slice" else _updates(operands)
    return written, int(target.literal)


def _seen_through(computation: Computation, instruction: Instruction) -> Instruction:
    """What a view is of."""
    while instruction.opcode in _VIEWS:
        instruction = computation.instructions[instruction.operands[0]]
    return instruction


def _updates(operands: list[Instruction]) -> int:
    """Bytes of a scatter's updates: its operands are as many arrays, the indices, and as many updates."""
    return sum(shape.bytes for shape in _shapes(operands[len(operands) // 2 + 1 :]))


def _shapes(instructions: list[Instruction]) -> list[Shape]:
    return [shape for instruction in instructions for shape in instruction.shapes]


def _whole(shapes: "list[Shape] | tuple[Shape, ...]") -> Traffic:
    total = Traffic()
    for shape in shapes:
        total[shape.space] += shape.bytes
    return total


def _of(shape: Shape, number: int) -> Traffic:
    return Traffic({shape.space: number})
