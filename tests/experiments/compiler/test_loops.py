"""Loops of compiled HLO: how often they run, and a turn of one of them."""

import pytest
from hlo_counts import CHIP, assert_counted

from experiments.compiler.roofline import count_turn

_LOOP = """
%body (c: (s32[], f32[8], s32[])) -> (s32[], f32[8], s32[]) {
  %c = (s32[], f32[8]{0}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %x = f32[8]{0} get-tuple-element(%c), index=1
  %n = s32[] get-tuple-element(%c), index=2
  %one = s32[] constant(STEP)
  %j = s32[]{:S(6)} add(%i, %one)
  %y = f32[8]{0} negate(%x)
  ROOT %t = (s32[], f32[8]{0}, s32[]) tuple(%j, %y, %n)
}
%condition (c: (s32[], f32[8], s32[])) -> pred[] {
  %c = (s32[], f32[8]{0}, s32[]) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %n = s32[] get-tuple-element(%c), index=2
  %m = s32[] constant(10)
  ROOT %l = pred[]{:S(6)} compare(TEST)
}
"""
_WHILE = (
    "  %p = f32[8]{0} parameter(0)\n  %zero = s32[] constant(FIRST)\n  %i = s32[]{:S(6)} copy(%zero)\n"
    "  %n = s32[] LIMIT\n  %b = (s32[], f32[8]{0}, s32[]) tuple(%i, %p, %n)\n"
    "  ROOT %w = (s32[], f32[8]{0}, s32[]) while(%b), condition=%condition, body=%bodyNOTED\n"
)


@pytest.mark.parametrize(
    ("first", "step", "test", "limit", "noted", "turns"),
    [
        (0, 1, "%i, %m), direction=LT", "constant(0)", "", 10),
        (2, 3, "%i, %m), direction=LT", "constant(0)", "", 3),
        (0, 1, "%i, %m), direction=LE", "constant(0)", "", 11),
        (0, 1, "%m, %i), direction=GT", "constant(0)", "", 10),
        (0, 1, "%i, %n), direction=LT", "constant(7)", "", 7),
        (20, 1, "%i, %m), direction=LT", "constant(0)", "", 0),
        (0, 1, "%i, %n), direction=LT", "parameter(1)", "", None),
        (0, -1, "%i, %m), direction=LT", "constant(0)", "", None),
        (0, 1, "%i, %m), direction=NE", "constant(0)", "", None),
        (0, 1, "%i, %n), direction=LT", "parameter(1)", ', backend_config={"known_trip_count":{"n":"5"}}', 5),
    ],
)
def test_loops_count_as_often_as_they_run(first, step, test, limit, noted, turns):
    """By a counter's bounds or what XLA notes; where neither tells, once, and that is said."""
    loop = _LOOP.replace("STEP", str(step)).replace("TEST", test)
    body = _WHILE.replace("FIRST", str(first)).replace("LIMIT", limit).replace("NOTED", noted)
    # The counters here, and what compares them, take a few bytes of their own.
    one = 64 + (4 + 4) + (4 + 4)
    assert_counted(body, loop, bytes=4 + one * (1 if turns is None else turns), unknown_loops=int(turns is None))


def test_a_turn_of_an_inner_loop():
    """Of the costliest ones whose turns nobody can tell, at the depth that is asked for."""
    unknown = _LOOP.replace("STEP", "1").replace("TEST", "%i, %n), direction=LT")
    inner = unknown.replace("%body", "%inner").replace("%condition", "%while").replace("f32[8]", "f32[80]")
    outer = unknown.replace(
        "  %y = f32[8]{0} negate(%x)\n",
        "  %big = f32[80]{0} constant({...})\n  %b = (s32[], f32[80]{0}, s32[]) tuple(%i, %big, %n)\n"
        "  %w = (s32[], f32[80]{0}, s32[]) while(%b), condition=%while, body=%inner\n  %y = f32[8]{0} negate(%x)\n",
    )
    body = _WHILE.replace("FIRST", "0").replace("LIMIT", "parameter(1)").replace("NOTED", "")
    text = f"{inner}{outer}ENTRY %main () -> f32[8] {{\n{body}}}\n"
    found = [count_turn(text, CHIP, depth) for depth in range(4)]
    assert [each.unknown_loops for each in found] == [2, 1, 0, 0]
    assert found[2].bytes == found[3].bytes == 640 + 8
    assert found[1].bytes == found[2].bytes + 8 + 64 + 8
