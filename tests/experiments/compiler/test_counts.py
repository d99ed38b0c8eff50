"""Counts of compiled HLO, against what hand-written programs do."""

import math

import pytest
from hlo_counts import CHIP, assert_counted

from experiments.compiler.hlo import HBM, VMEM, parse, shapes_in
from experiments.compiler.roofline import count


@pytest.mark.parametrize(
    ("type_", "size", "space"),
    [
        ("f32[]", 4, HBM),
        ("f32[]{:T(128)}", 4, HBM),
        ("pred[3,5]", 15, HBM),
        ("bf16[4096,4096]{1,0:T(8,128)(2,1)}", 2 * 4096**2, HBM),
        ("bf16[128,4,4,512]{3,2,1,0:T(4,128)(2,1)S(1)}", 2 * 128 * 16 * 512, VMEM),
        ("f32[10,100]{1,0:T(8,128)}", 4 * 16 * 128, HBM),  # filled up to whole tiles
        ("f32[10,100]{0,1:T(8,128)}", 4 * 104 * 128, HBM),
        ("bf16[1,100]{1,0:T(1,128)(2,1)}", 2 * 2 * 128, HBM),
        ("f32[5]{0:T(8,128)}", 4 * 8 * 128, HBM),
        ("s4[16]", 8, HBM),
        ("u32[2]{0:T(128)S(6)}", 512, 6),
        ("f8e4m3fn[7]", 7, HBM),
        ("token[]", 0, HBM),
    ],
)
def test_bytes_of_arrays(type_, size, space):
    """With what fills their tiles."""
    (shape,) = shapes_in(type_)
    assert (shape.bytes, shape.space) == (size, space)


def test_the_parser_reads_tuples_comments_and_the_root():
    program = parse(
        "%f (a: f32[2], b: (f32[2], s32[])) -> f32[2] {\n"
        "  %a = f32[2]{0} parameter(0)\n"
        '  ROOT %r.1 = f32[2]{0} add(%a, %a), metadata={op_name="jit(f)/add"}\n'
        "  %b = (f32[2]{0}, /*index=1*/s32[]) parameter(1)\n"
        "}\n"
        "ENTRY %main (a: f32[2]) -> f32[2] {\n"
        "  %a.1 = f32[2]{0} parameter(0)\n"
        "}\n"
    )
    f = program.computations["f"]
    assert program.entry == "main" and f.root.name == "r.1" and f.root.operands == ("a", "a")
    assert [parameter.name for parameter in f.parameters] == ["a", "b"]
    assert [shape.dtype for shape in f.instructions["b"].shapes] == ["f32", "s32"]
    with pytest.raises(ValueError, match="must have a computation that begins with ENTRY"):
        parse("HloModule nothing")


def test_arrays_are_read_and_written_once_and_views_move_nothing():
    assert_counted(
        "  %p = f32[8]{0} parameter(0)\n"
        "  %q = f32[2,4]{1,0} bitcast(%p)\n"
        "  %t = (f32[8]{0}, f32[2,4]{1,0}) tuple(%p, %q)\n"
        "  %g = f32[8]{0} get-tuple-element(%t), index=0\n"
        "  ROOT %s = f32[8]{0:S(1)} add(%g, %p)\n",
        bytes=64,
        on_chip_bytes=32,
    )


def test_what_is_asynchronous_counts_where_it_starts():
    assert_counted(
        "  %p = f32[8]{0} parameter(0)\n"
        "  %c = (f32[8]{0:S(1)}, f32[8]{0}, u32[]{:S(2)}) copy-start(%p)\n"
        "  %d = f32[8]{0:S(1)} copy-done(%c)\n"
        "  %e = ((f32[8]{0}), f32[2]{0:S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[0:2]}\n"
        "  %f = f32[2]{0:S(1)} slice-done(%e)\n"
        '  ROOT %h = f32[2]{0:S(1)} custom-call(%f), custom_call_target="ConcatBitcast"\n',
        bytes=32 + 8,
        on_chip_bytes=32 + 8,
        kernels=2,
    )


_SLICED = """
%inner (q: f32[100]) -> f32[100] {
  %q = f32[100]{0} parameter(0)
  ROOT %v = f32[100]{0} bitcast(%q)
}
%f (p0: f32[100], p1: s32[], p2: f32[100]) -> f32[8] {
  %p0 = f32[100]{0} parameter(0)
  %p1 = s32[] parameter(1)
  %p2 = f32[100]{0} parameter(2)
  %v = f32[100]{0} fusion(%p0), kind=kLoop, calls=%inner
  %d = f32[8]{0} dynamic-slice(%p0, %p1), dynamic_slice_sizes={8}
  %e = f32[8]{0} slice(%p2), slice={[0:8]}
  ROOT %s = f32[8]{0} add(%d, %e)
}
"""


def test_a_fusion_reads_the_slices_that_it_takes():
    """Through a view as well; of an operand that is read whole besides, all of it."""
    assert_counted(
        "  %p = f32[100]{0} parameter(0)\n  %i = s32[] parameter(1)\n  %o = f32[100]{0} parameter(2)\n"
        "  ROOT %s = f32[8]{0} fusion(%p, %i, %o), kind=kLoop, calls=%f\n",
        _SLICED.replace("dynamic-slice(%p0", "dynamic-slice(%v"),
        bytes=32 + 4 + 32 + 32,
    )
    assert_counted(
        "  %p = f32[100]{0} parameter(0)\n  %i = s32[] parameter(1)\n  %o = f32[100]{0} parameter(2)\n"
        "  ROOT %s = f32[8]{0} fusion(%p, %i, %o), kind=kLoop, calls=%f\n",
        _SLICED.replace("  %v = f32[100]{0} fusion(%p0), kind=kLoop, calls=%inner\n", ""),
        bytes=32 + 4 + 32 + 32,
    )
    whole = _SLICED.replace("ROOT %v = f32[100]{0} bitcast(%q)", "ROOT %v = f32[100]{0} negate(%q)")
    assert_counted(
        "  %p = f32[100]{0} parameter(0)\n  %i = s32[] parameter(1)\n  %o = f32[100]{0} parameter(2)\n"
        "  ROOT %s = f32[8]{0} fusion(%p, %i, %o), kind=kLoop, calls=%f\n",
        whole,
        bytes=400 + 4 + 32 + 32,
    )


_UPDATE = """
%f (p0: f32[100], p1: f32[8], p2: s32[]) -> f32[100] {
  %p0 = f32[100]{0} parameter(0)
  %p1 = f32[8]{0} parameter(1)
  %p2 = s32[] parameter(2)
  %v = f32[100]{0} OF(%p0)
  ROOT %u = f32[100]{0} dynamic-update-slice(%v, %p1, %p2)
}
"""


@pytest.mark.parametrize(("made", "moved"), [("bitcast", 32 + 4 + 32), ("negate", 400 + 32 + 4 + 400)])
def test_an_update_in_place_writes_the_update_alone(made, moved):
    """Where what is updated is an operand itself, and not computed."""
    assert_counted(
        "  %p = f32[100]{0} parameter(0)\n  %u = f32[8]{0} parameter(1)\n  %i = s32[] parameter(2)\n"
        "  ROOT %s = f32[100]{0} fusion(%p, %u, %i), kind=kLoop, calls=%f\n",
        _UPDATE.replace("OF", made),
        bytes=moved,
    )


_VIEWED = """
%view (q: f32[4,4]) -> f32[16] {
  %q = f32[4,4]{1,0} parameter(0)
  ROOT %v = f32[16]{0} bitcast(%q)
}
%f (p0: f32[4,4]) -> f32[16] {
  %p0 = f32[4,4]{1,0} parameter(0)
  %v = f32[16]{0} fusion(%p0), kind=kLoop, calls=%view
  ROOT %s = f32[16]{0} negate(%v)
}
"""


def test_a_fusion_reads_what_it_looks_at_in_another_shape():
    """All of it, where it does so whole; where it does nothing else too."""
    body = "  %p = f32[4,4]{1,0} parameter(0)\n  ROOT %s = f32[16]{0} fusion(%p), kind=kLoop, calls=%f\n"
    assert_counted(body, _VIEWED, bytes=64 + 64)
    assert_counted(body, _VIEWED.replace("negate", "bitcast"), bytes=64 + 64)


def test_gathers_and_scatters_move_rows():
    assert_counted(
        "  %p = f32[100,8]{1,0} parameter(0)\n  %i = s32[2]{0} parameter(1)\n"
        "  %g = f32[2,8]{1,0} gather(%p, %i), offset_dims={1}\n"
        "  ROOT %s = f32[100,8]{1,0} scatter(%p, %i, %g), to_apply=%f\n",
        bytes=(64 + 8 + 64) + (2 * 64 + 8 + 64),
    )


@pytest.mark.parametrize(
    ("attributes", "flops"),
    [
        # A row of outputs meets 3 + 2 * (n - 2) / ... elements less than 3 each at both ends: 3 * 6 - 2 = 16 pairs.
        ("window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f", 2 * 4 * 5 * 7 * 16**2),
        ("window={size=3x3 pad=1_1x1_1 rhs_reversal=1x1}, dim_labels=b01f_01io->b01f", 2 * 4 * 5 * 7 * 16**2),
        ("window={size=3x3 pad=2_2x2_2 rhs_dilate=2x2}, dim_labels=b01f_01io->b01f", 2 * 4 * 5 * 7 * 14**2),
    ],
)
def test_operations_of_convolutions_leave_padding_out(attributes, flops):
    assert_counted(
        "  %x = f32[4,6,6,5]{3,2,1,0:S(1)} parameter(0)\n  %k = f32[3,3,5,7]{3,2,1,0:S(1)} parameter(1)\n"
        f"  ROOT %y = f32[4,6,6,7]{{3,2,1,0:S(1)}} convolution(%x, %k), {attributes}\n",
        flops=flops,
        on_chip_bytes=4 * (4 * 36 * 5 + 9 * 35 + 4 * 36 * 7),
    )


def test_operations_of_convolutions_with_holes_strides_and_groups():
    """Against a count of all pairs, one by one."""
    pairs = sum(
        0 <= 2 * o + k - 1 <= 8 and (2 * o + k - 1) % 2 == 0 for o in range(4) for k in range(3)
    )  # stride 2, and 5 inputs with a hole between each two
    assert_counted(
        "  %x = f32[4,5,6]{2,1,0:S(6)} parameter(0)\n  %k = f32[3,2,9]{2,1,0:S(6)} parameter(1)\n"
        "  ROOT %y = f32[4,4,9]{2,1,0:S(6)} convolution(%x, %k), window={size=3 stride=2 pad=1_0 lhs_dilate=2},"
        " dim_labels=b0f_0io->b0f, feature_group_count=3\n",
        flops=2 * 4 * 2 * 9 * pairs,
    )


_PRODUCT = """
%f (a: f32[3,4,5], b: f32[3,5,6]) -> f32[3,4,6] {
  %a = f32[3,4,5]{2,1,0:S(1)} parameter(0)
  %b = f32[3,5,6]{2,1,0:S(1)} parameter(1)
  ROOT %d = f32[3,4,6]{2,1,0:S(1)} dot(%a, %b), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}
}
"""


def test_operations_within_fusions_and_the_larger_of_two_times():
    """A kernel takes the time of its bytes or of its operations; a program that of all its kernels."""
    operations, moved = 2 * 3 * 4 * 6 * 5, 4 * (3 * 4 * 5 + 3 * 5 * 6 + 3 * 4 * 6)
    text = (
        _PRODUCT + "ENTRY %main () -> f32[3,4,6] {\n"
        "  %a = f32[3,4,5]{2,1,0} parameter(0)\n  %b = f32[3,5,6]{2,1,0} parameter(1)\n"
        "  %d = f32[3,4,6]{2,1,0} fusion(%a, %b), kind=kOutput, calls=%f\n"
        "  ROOT %e = f32[3,4,6]{2,1,0} negate(%d)\n}\n"
    )
    for rates in ((1.0, 1e6), (1e6, 1.0)):
        found = count(text, CHIP._replace(flops_per_second=rates[0], bytes_per_second=rates[1]))
        product = max(operations / rates[0], moved / rates[1])
        assert found.flops == operations and found.kernels == 2
        assert math.isclose(found.seconds, product + 2 * 4 * 72 / rates[1])


def test_of_branches_the_costliest_counts():
    branch = (
        "%{0} (a: f32[{1}]) -> f32[8] {{\n  %a = f32[{1}]{{0}} parameter(0)\n  ROOT %r = f32[{1}]{{0}} negate(%a)\n}}\n"
    )
    assert_counted(
        "  %p = f32[8]{0} parameter(0)\n  %i = s32[] parameter(1)\n"
        "  ROOT %c = f32[8]{0} conditional(%i, %p, %p, %p), branch_computations={%f, %g, %h}\n",
        branch.format("f", 8) + branch.format("g", 100) + branch.format("h", 20),
        bytes=800,
    )


def test_collectives_are_counted_with_the_larger_of_what_they_take_and_give():
    assert_counted(
        "  %p = f32[8]{0} parameter(0)\n"
        "  %r = f32[8]{0:S(1)} all-reduce(%p), to_apply=%add\n"
        "  %g = (f32[8]{0}, f32[32]{0}) all-gather-start(%p), dimensions={0}\n"
        "  %d = f32[32]{0} all-gather-done(%g)\n"
        "  ROOT %s = f32[2]{0} reduce-scatter(%p), dimensions={0}, to_apply=%add\n",
        bytes=32 + (32 + 128) + (32 + 8),
        on_chip_bytes=32,
        collectives=3,
        collective_bytes=32 + 128 + 32,
    )


def test_a_pallas_kernel_counts_as_it_says():
    """Where it says something; as its operands and results where it does not."""
    call = (
        "  %p = f32[8]{0} parameter(0)\n"
        '  ROOT %k = f32[8]{0} custom-call(%p), custom_call_target="tpu_custom_call",'
        ' backend_config={"custom_call_config":{"body":"x"COST}}\n'
    )
    stated = ',"cost_estimate":{"flops":123,"transcendentals":0,"bytes_accessed":456}'
    assert_counted(call.replace("COST", stated), flops=123, bytes=456)
    assert_counted(call.replace("COST", ""), bytes=64)


def test_a_pallas_kernel_that_says_what_each_operand_moves():
    """Those in VMEM are no traffic of HBM; the text has that on lines of its own."""
    call = (
        "  %p = f32[8]{0} parameter(0)\n"
        "  %i = s32[1]{0} constant({0})\n"
        "  %q = f32[8]{0:S(1)} negate(%i)\n"
        '  ROOT %k = f32[8]{0} custom-call(%i, %p, %q), custom_call_target="tpu_custom_call",'
        ' frontend_attributes={kernel_metadata={\n"moved":"100 20 3"\n}}, backend_config={"custom_call_config":'
        '{"body":"x","cost_estimate":{"flops":7,"transcendentals":0,"bytes_accessed":123}}}\n'
    )
    negated = 4  # the one number that %q is computed from
    assert_counted(call, flops=7, bytes=103 + negated, on_chip_bytes=2 * 32)


def test_what_xla_expects_is_added_up():
    negated = '  %{0} = f32[8]{{0:S(6)}} negate(%p), backend_config={{"window_config":{{"estimated_cycles":"{1}"}}}}\n'
    assert_counted(
        "  %p = f32[8]{0:S(6)} parameter(0)\n" + negated.format("a", 20) + negated.format("b", 300),
        estimated_cycles=320,
    )
