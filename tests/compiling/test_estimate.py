"""The rule of docs/accelerators.md on programs that were written by hand."""

import pytest

from lora_jax.compiling.collectives import count_collectives
from lora_jax.compiling.estimate import estimate_step
from lora_jax.compiling.hlo import parse
from lora_jax.compiling.results import StepEstimate
from lora_jax.compiling.walk import UnknownLoop
from lora_jax.target import parse_target

H100, V5E = parse_target("h100"), parse_target("v5e:2x2")
FLOPS, BYTES, CLOCK = 989e12, 3.35e12, 1.5e9

MATMUL = """
%matmul (a: bf16[1024,2048], b: bf16[2048,512]) -> bf16[1024,512] {
  %a = bf16[1024,2048]{1,0} parameter(0)
  %b = bf16[2048,512]{1,0} parameter(1)
  ROOT %product = bf16[1024,512]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
LOOP = """
%body (state: (s32[], bf16[1024,512])) -> (s32[], bf16[1024,512]) {
  %state = (s32[], /*index=1*/bf16[1024,512]{1,0:T(8,128)(2,1)}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = bf16[1024,512]{1,0} get-tuple-element(%state), index=1
  %doubled = bf16[1024,512] fusion(%x), kind=kLoop, calls=%double, backend_config={"estimated_cycles":"700"}
  ROOT %next = (s32[], bf16[1024,512]{1,0}) tuple(%i, %doubled)
}
%condition (state: (s32[], bf16[1024,512])) -> pred[] {
  %state.1 = (s32[], bf16[1024,512]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}
%double (x: bf16[1024,512]) -> bf16[1024,512] {
  %x.1 = bf16[1024,512]{1,0} parameter(0)
  ROOT %sum = bf16[1024,512]{1,0} add(%x.1, %x.1)
}
"""
TRIPS = ', backend_config={"known_trip_count":{"n":"5"}}'


def program(body: str, *computations: str) -> str:
    return (
        "HloModule jit_step\n"
        + "".join(computations)
        + "\nENTRY %main (a: bf16[1024,2048], b: bf16[2048,512]) -> bf16[1024,512] {\n"
        + '  %a.1 = bf16[1024,2048]{1,0} parameter(0), metadata={op_name="a"}\n'
        + "  %b.1 = bf16[2048,512]{1,0} parameter(1)\n"
        + body
        + "}\n"
    )


def estimate(text: str, target=H100, flops: float = 1e9) -> StepEstimate:
    parsed = parse(text)
    return estimate_step(parsed, target, flops, count_collectives(parsed, target))


def matmul(extra: str = "") -> str:
    return "  ROOT %m = bf16[1024,512]{1,0} fusion(%a.1, %b.1), kind=kCustom, calls=%matmul" + extra + "\n"


def test_a_gpu_fusion_takes_the_larger_of_its_flops_and_its_bytes() -> None:
    flops, moved = 2 * 1024 * 2048 * 512, 2 * (1024 * 2048 + 2048 * 512 + 1024 * 512)
    found = estimate(program(matmul(), MATMUL), flops=flops)
    assert found.seconds == pytest.approx(max(flops / FLOPS, moved / BYTES))
    assert found.seconds == pytest.approx(moved / BYTES), "this one is bound by its bytes"
    assert found.utilisation == pytest.approx(flops / (found.seconds * FLOPS))
    wide = program(matmul(), MATMUL).replace("2048", "204800").replace("[1024", "[32768")
    many = 2 * 32768 * 204800 * 512
    assert estimate(wide).seconds == pytest.approx(many / FLOPS), "this one by its FLOPs"


def test_a_loop_counts_as_often_as_it_runs() -> None:
    loop = (
        "  %start = (s32[], bf16[1024,512]{1,0}) tuple(%a.1, %b.1)\n"
        "  ROOT %w = (s32[], bf16[1024,512]{1,0}) while(%start), condition=%condition, body=%body"
    )
    found = estimate(program(f"{loop}{TRIPS}\n", LOOP))
    assert found.seconds == pytest.approx(5 * 2 * 2 * 1024 * 512 / BYTES)
    assert estimate(program(f"{loop}{TRIPS}\n", LOOP), V5E).seconds == pytest.approx(5 * 700 / CLOCK)
    with pytest.raises(UnknownLoop, match="w"):
        estimate(program(f"{loop}\n", LOOP))


COUNTED = """
%body (state: (s32[], bf16[1024,512])) -> (s32[], bf16[1024,512]) {
  %state = (s32[], bf16[1024,512]) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %x = bf16[1024,512]{1,0} get-tuple-element(%state), index=1
  %two = s32[]{:T(128)} constant(2)
  %j = s32[]{:T(128)} add(%i, %two)
  %doubled = bf16[1024,512] fusion(%x), kind=kLoop, calls=%double, backend_config={"estimated_cycles":"700"}
  ROOT %next = (s32[], bf16[1024,512]{1,0}) tuple(%j, %doubled)
}
%condition (state: (s32[], bf16[1024,512])) -> pred[] {
  %state.1 = (s32[], bf16[1024,512]{1,0}) parameter(0)
  %end = s32[]{:T(128)} constant(13)
  %i.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  ROOT %yes = pred[]{:T(512)} compare(%i.1, %end), direction=LT
}
"""


def test_a_loop_whose_turns_the_compiler_does_not_say_is_counted_by_its_counter() -> None:
    """From 3 to 13 by twos: five turns, as on a TPU, whose programs say no number."""
    loop = (
        "  %three = s32[] constant(3)\n"
        "  %copied = s32[] copy(%three)\n"
        "  %start = (s32[], bf16[1024,512]{1,0}) tuple(%copied, %b.1)\n"
        "  ROOT %w = (s32[], bf16[1024,512]{1,0}) while(%start), condition=%condition, body=%body\n"
    )
    assert estimate(program(loop, COUNTED), V5E).seconds == pytest.approx(5 * 700 / CLOCK)
    with pytest.raises(UnknownLoop):
        estimate(program(loop, COUNTED.replace("direction=LT", "direction=NE")), V5E)


def test_a_tpu_takes_the_cycles_that_its_compiler_says_and_nothing_else() -> None:
    cycles = ', backend_config={"flag_configs":[],"estimated_cycles":"12000","iteration_bounds":["4"]}'
    found = estimate(program(matmul(cycles), MATMUL), V5E)
    assert found.seconds == pytest.approx(12000 / CLOCK)
    assert found.kernel_seconds == 0
    assert estimate(program(matmul(), MATMUL), V5E).seconds == 0


ATTENTION = (
    "  %q = bf16[8,1024,12,64]{3,2,1,0} reshape(%a.1)\n"
    "  ROOT %o = (bf16[8,12,1024,64]{3,1,2,0}, f32[8,12,1024]{2,1,0}) custom-call(%q, %q, %q),"
    ' custom_call_target="__cudnn$fmhaSoftmax", backend_config={"mask_type": "NO_MASK"}\n'
)


def test_cudnn_attention_takes_its_flops_over_half_the_peak() -> None:
    products = 2 * 2.0 * 8 * 12 * 1024 * 1024 * 64
    reshape = 2 * (1024 * 2048 + 8 * 1024 * 12 * 64) / BYTES
    found = estimate(program(ATTENTION))
    assert found.kernel_seconds == pytest.approx(products / (0.5 * FLOPS))
    assert found.seconds == pytest.approx(found.kernel_seconds + reshape)
    causal = estimate(program(ATTENTION.replace("NO_MASK", "CAUSAL")))
    assert causal.kernel_seconds == pytest.approx(found.kernel_seconds / 2)
    backward = estimate(program(ATTENTION.replace("fmhaSoftmax", "fmhaSoftmaxBackward")))
    assert backward.kernel_seconds == pytest.approx(2.5 * found.kernel_seconds)
    assert found.unpriced_kernels == ()


def test_a_kernel_whose_flops_cannot_be_read_takes_its_bytes_and_is_named() -> None:
    kernel = '  ROOT %k = bf16[1024,512]{1,0} custom-call(%a.1), custom_call_target="tpu_custom_call"\n'
    found = estimate(program(kernel), V5E)
    assert found.unpriced_kernels == ("tpu_custom_call",)
    assert found.kernel_seconds == pytest.approx(2 * (1024 * 2048 + 1024 * 512) / 0.819e12)


SPLASH = """
  %table = s8[1,4,4]{2,1,0} parameter(2)
  %q = bf16[8,12,2048,64]{3,2,1,0} parameter(3)
  %k = bf16[8,2,2048,64]{3,2,1,0} parameter(4)
  ROOT %splash_mha_PHASE_residuals.1 = bf16[8,12,2048,64]{3,2,1,0} custom-call(TABLE%q, %k, %k), \
custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 512}"
}}, metadata={op_name="jit(f)/pallas_call"}
"""


def splash(phase: str, table: str = "%table, ") -> StepEstimate:
    return estimate(program(SPLASH.replace("PHASE", phase).replace("TABLE", table)), V5E)


def test_splash_attention_takes_the_flops_of_the_blocks_that_it_computes() -> None:
    product = 2.0 * 8 * 12 * 2048 * 2048 * 64 / (0.5 * 197e12)
    assert splash("fwd", "").kernel_seconds == pytest.approx(2 * product), "an encoder's scores and values"
    causal = splash("fwd")
    assert causal.kernel_seconds == pytest.approx(2 * product * 10 / 16), "of 4 x 4 blocks the lower ones, 10"
    assert splash("dq").kernel_seconds == pytest.approx(3 / 2 * causal.kernel_seconds)
    assert splash("dkv").kernel_seconds == pytest.approx(4 / 2 * causal.kernel_seconds)
    assert causal.unpriced_kernels == ()


def test_an_instruction_that_goes_on_over_several_lines_is_read_to_its_end() -> None:
    """So do those that a kernel's notes are copied to; the cycles stand behind the notes."""
    text = """  ROOT %copy.29 = bf16[1024,2048]{1,0} copy(%a.1), frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 512}"
}}, metadata={op_name="jit(f)/pallas_call"}, backend_config={"estimated_cycles":"326272"}
"""
    found = parse(program(text))
    assert list(found.computations["main"]) == ["a.1", "b.1", "copy.29"]
    assert estimate(program(text), V5E).seconds == pytest.approx(326272 / CLOCK)


def test_of_a_stack_of_weights_a_fusion_reads_its_slice() -> None:
    """A loop over layers else reads all layers in every turn."""
    slicing = """
%pick (a: bf16[1024,2048], i: s32[]) -> bf16[1,2048] {
  %a = bf16[1024,2048]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %one = bf16[1,2048]{1,0} dynamic-slice(%a, %i, %i), dynamic_slice_sizes={1,2048}
}
"""
    body = (
        "  %zero = s32[] constant(0)\n"
        "  ROOT %p = bf16[1,2048]{1,0} fusion(%a.1, %zero), kind=kLoop, calls=%pick\n"
    )
    assert estimate(program(body, slicing)).seconds == pytest.approx((2 * 2 * 2048 + 4) / BYTES)


def test_of_an_array_that_is_updated_in_place_a_fusion_writes_the_part() -> None:
    updating = """
%put (a: bf16[1024,2048], x: bf16[1,2048], i: s32[]) -> bf16[1024,2048] {
  %a = bf16[1024,2048]{1,0} parameter(0)
  %x = bf16[1,2048]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %new = bf16[1024,2048]{1,0} dynamic-update-slice(%a, %x, %i, %i)
}
"""
    body = (
        "  %zero = s32[] constant(0)\n"
        "  %row = bf16[1,2048]{1,0} parameter(2)\n"
        "  ROOT %p = bf16[1024,2048]{1,0} fusion(%a.1, %row, %zero), kind=kLoop, calls=%put\n"
    )
    assert estimate(program(body, updating)).seconds == pytest.approx((2 * 2 * 2048 + 4) / BYTES)
