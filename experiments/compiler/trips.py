"""How often a loop of compiled HLO runs, where its text tells."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from experiments.compiler.hlo import Computation, Instruction, Program


class _Carried(NamedTuple):
    """The number in a place of what a loop carries, plus a constant."""

    place: int
    plus: int = 0


class _Compared(NamedTuple):
    """A comparison of two numbers."""

    direction: str
    left: "_Value"
    right: "_Value"


_Value = int | _Carried | _Compared | None


def trips(program: Program, computation: Computation, loop: Instruction) -> int | None:
    """How often the body of a `while` runs, or None where that can't be told.

    It is what XLA notes, or what a counter with constant bounds takes.

    Args:
        program: that the loop is in.
        computation: the one that has it.
        loop: a `while`.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if noted:
        return int(noted[1])
    condition = program.computations[loop.named("condition") or ""]
    body = program.computations[loop.named("body") or ""]
    begin = computation.instructions[loop.operands[0]]
    test = _value(program, condition, condition.root, {})
    if not isinstance(test, _Compared):
        return None
    left, right, direction = test.left, test.right, test.direction
    if isinstance(right, _Carried) and isinstance(left, int):
        left, right, direction = right, left, {"GT": "LT", "GE": "LE"}.get(direction, "")
    if isinstance(right, _Carried):
        right = _kept(program, computation, body, begin, right)
    if not isinstance(left, _Carried) or not isinstance(right, int) or direction not in ("LT", "LE"):
        return None
    first, step = _begun(program, computation, begin, left.place), _step(program, body, left.place)
    if first is None or step is None or step < 1:
        return None
    last = right - left.plus + (direction == "LE")
    return max(0, -(-(last - first) // step))


def _begun(program: Program, computation: Computation, begin: Instruction, place: int) -> int | None:
    if begin.opcode != "tuple":
        return None
    value = _value(program, computation, computation.instructions[begin.operands[place]], {})
    return value if isinstance(value, int) else None


def _step(program: Program, body: Computation, place: int) -> int | None:
    """By how much the body moves the counter on."""
    if body.root.opcode != "tuple":
        return None
    value = _value(program, body, body.instructions[body.root.operands[place]], {})
    return value.plus if isinstance(value, _Carried) and value.place == place else None


def _kept(
    program: Program, computation: Computation, body: Computation, begin: Instruction, bound: _Carried
) -> int | None:
    """A bound that is carried along unchanged."""
    if _step(program, body, bound.place) != 0:
        return None
    value = _begun(program, computation, begin, bound.place)
    return None if value is None else value + bound.plus


def _value(program: Program, computation: Computation, instruction: Instruction, given: Mapping[str, _Value]) -> _Value:
    """What an instruction computes, of constants and of what a loop carries; None where it is anything else."""
    opcode = instruction.opcode
    if opcode == "constant":
        return int(instruction.literal) if re.fullmatch(r"-?\d+", instruction.literal) else None
    if opcode == "parameter":
        return given.get(instruction.name)
    operands = computation.operands(instruction)
    if opcode == "get-tuple-element":
        index = re.search(r"index=(\d+)", instruction.attributes)
        carried = operands[0].opcode == "parameter" and operands[0].name not in given
        return _Carried(int(index[1])) if index and carried else None
    if opcode not in ("copy", "bitcast", "convert", "fusion", "compare", "add"):
        return None
    values = [_value(program, computation, operand, given) for operand in operands]
    if opcode in ("copy", "bitcast", "convert"):
        return values[0]
    if opcode == "fusion":
        inner = program.computations[instruction.named("calls") or ""]
        named = dict(zip((parameter.name for parameter in inner.parameters), values, strict=True))
        return _value(program, inner, inner.root, named)
    if opcode == "compare":
        return _Compared(instruction.named("direction") or "", values[0], values[1])
    return _sum(*values)


def _sum(left: _Value, right: _Value) -> _Value:
    if isinstance(left, int):
        left, right = right, left
    if not isinstance(right, int):
        return None
    if isinstance(left, _Carried):
        return _Carried(left.place, left.plus + right)
    return left + right if isinstance(left, int) else None
