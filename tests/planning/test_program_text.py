"""What is counted of a program's text, against counts by hand."""

import pytest

from nst_jax.planning.program_text import ProgramText, arrays_of

# A fusion that reads a slice of one array and updates another in place; a product in a fusion; a
# convolution in a library; a loop of three; a collective.
TEXT = """HloModule jit_step, is_scheduled=true

%fused_update (param_0: f32[50,1000], param_1: s32[], param_2: f32[8,1000]) -> f32[50,1000] {
  %param_0 = f32[50,1000]{1,0} parameter(0)
  %param_2 = f32[8,1000]{1,0} parameter(2)
  %param_1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %slice.1 = f32[1,1000]{1,0} dynamic-slice(%param_2, %param_1, %zero), dynamic_slice_sizes={1,1000}
  ROOT %update = f32[50,1000]{1,0} dynamic-update-slice(%param_0, %slice.1, %param_1, %zero)
}

%fused_dot (param_0.1: f32[300,64], param_1.1: bf16[64,32]) -> f32[300,32] {
  %param_0.1 = f32[300,64]{1,0} parameter(0)
  %param_1.1 = bf16[64,32]{1,0} parameter(1)
  %convert = f32[64,32]{1,0} convert(%param_1.1)
  ROOT %dot.1 = f32[300,32]{1,0} dot(%param_0.1, %convert), lhs_contracting_dims={1}, \
rhs_contracting_dims={0}, operand_precision={highest,highest}
}

%body (loop: (s32[], f32[10])) -> (s32[], f32[10]) {
  %loop = (s32[], f32[10]{0}) parameter(0)
  %i = s32[] get-tuple-element(%loop), index=0
  %x = f32[10]{0} get-tuple-element(%loop), index=1
  %copy.1 = f32[10]{0} copy(%x)
  ROOT %tuple.1 = (s32[], f32[10]{0}) tuple(%i, %copy.1)
}

ENTRY %main (a: f32[50,1000], b: s32[], c: f32[8,1000], f: f32[300,64], s: bf16[64,32], \
x: f32[1,8,9,3], k: f32[5,3,3,3], y: f32[10]) -> f32[50,1000] {
  %a = f32[50,1000]{1,0} parameter(0)
  %b = s32[] parameter(1)
  %c = f32[8,1000]{1,0} parameter(2)
  %f = f32[300,64]{1,0} parameter(3)
  %s = bf16[64,32]{1,0} parameter(4)
  %x.1 = f32[1,8,9,3]{3,2,1,0} parameter(5)
  %k = f32[5,3,3,3]{3,2,1,0} parameter(6)
  %y = f32[10]{0} parameter(7)
  %zero.1 = s32[] constant(0)
  %gemm = f32[300,32]{1,0} fusion(%f, %s), kind=kCustom, calls=%fused_dot, \
metadata={op_name="jit(step)/gram"}
  %conv = (f32[1,8,9,5]{3,2,1,0}, u8[0]{0}) custom-call(%x.1, %k), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward"
  %conv.1 = f32[1,8,9,5]{3,2,1,0} get-tuple-element(%conv), index=0
  %init = (s32[], f32[10]{0}) tuple(%zero.1, %y)
  %while = (s32[], f32[10]{0}) while(%init), condition=%cond, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %sum = f32[10]{0} all-reduce(%y), replica_groups={}, to_apply=%add
  ROOT %update.1 = f32[50,1000]{1,0} fusion(%a, %b, %c), kind=kLoop, calls=%fused_update
}
"""


@pytest.fixture(scope="module")
def kernels():
    return {kernel.name: kernel for kernel in ProgramText(TEXT).kernels}


def test_only_what_runs_is_a_kernel(kernels):
    assert list(kernels) == ["gemm", "conv", "copy.1", "sum", "update.1"]


def test_an_update_in_place_moves_what_is_put_there_and_a_slice_what_is_taken(kernels):
    row, index = 4 * 1000, 4
    assert kernels["update.1"].bytes == row + row + index


def test_a_product_in_a_fusion(kernels):
    gemm = kernels["gemm"]
    assert gemm.flops == 2 * 300 * 64 * 32
    assert gemm.bytes == 4 * 300 * 64 + 2 * 64 * 32 + 4 * 300 * 32
    assert (gemm.precision, gemm.source) == ("float32", "jit(step)/gram")


def test_a_convolution_in_a_library(kernels):
    conv = kernels["conv"]
    # The outermost outputs meet padding in a row or a column of the window.
    assert conv.flops == 2 * (3 * 8 - 2) * (3 * 9 - 2) * 3 * 5
    assert conv.bytes == 4 * (8 * 9 * 3 + 5 * 9 * 3 + 8 * 9 * 5)
    assert conv.precision == "tf32"  # float32 that nothing asks more of


def test_a_loop_runs_as_often_as_it_says(kernels):
    assert kernels["copy.1"].runs == 3
    assert kernels["copy.1"].bytes == 2 * 4 * 10


def test_a_loop_that_does_not_say_runs_as_its_condition_says():
    """As in a TPU's program."""
    condition = """%cond (loop.1: (s32[], f32[10])) -> pred[] {
  %limit = s32[]{:T(128)} constant(16), metadata={op_name="jit(step)"}
  %loop.1 = (s32[]{:T(128)}, f32[10]{0}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%loop.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

%body"""
    silent = TEXT.replace(', backend_config={"known_trip_count":{"n":"3"}}', "")
    kernels = ProgramText(silent.replace("%body", condition, 1)).kernels
    assert "known_trip_count" not in silent
    assert {kernel.name: kernel.runs for kernel in kernels}["copy.1"] == 16


def test_collectives_are_told_apart(kernels):
    assert [k.name for k in kernels.values() if k.collective == "all-reduce"] == ["sum"]
    assert sum(kernel.received for kernel in kernels.values()) == kernels["sum"].received > 0


def test_arrays_of_a_printed_shape():
    printed = "(bf16[2,3]{1,0:T(8,128)}, pred[], /*index=2*/s32[7]{0})"
    assert arrays_of(printed) == [("bf16", (2, 3)), ("pred", ()), ("s32", (7,))]
