"""Reports as text: what a reader sees of a step, in the terminal and in a document."""

from dataclasses import replace

from lora_jax.compiling.results import Collective, CompiledStep, CompileReport, Memory, StepEstimate
from lora_jax.compiling.table import format_beside, format_markdown, format_report

ESTIMATE = StepEstimate(0.0123, 0.001, 0.0045, 0.4, ("odd_kernel",))
FITS = CompiledStep(
    "d8x1, batch 2 x 4",
    1234,
    ("one", "two"),
    5.6e12,
    True,
    Memory(1e9, 2e9, 3.5e9, 16e9),
    (Collective("all-gather", 7, 1.5e9, 1e8),),
    ESTIMATE,
    ("Beware.",),
    3.0,
)
TOO_LARGE = CompiledStep(
    "d9x1, batch 2 x 4", 99, ("three",), 1.0, False, None, (), None, ("It does not fit.",), 3.0
)
REPORT = CompileReport("mine", "tpu-v5e:2x2", "data=1,fsdp=4,tensor=1", "0.10", (FITS, TOO_LARGE))


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_terminal_is_told_memory_limit_estimate_and_what_it_leaves_out() -> None:
    told = words(format_report(REPORT))
    assert (
        "d8x1, batch 2 x 4 1,234 2 5.60e+12 1.00 GB 2.00 GB 3.50 GB 16.00 GB fused 12.3 ms to 16.8 ms"
        " 29 % to 40 %" in told
    )
    assert "Compiled for tpu-v5e:2x2" in told
    assert "an estimate from the compiled program, not a measurement" in told
    assert "a device receives in a step: all-gather 7 (1.50 GB)." in told
    assert "at full speed this takes 4.5 ms, beside 12.3 ms of computing." in told
    assert "of the kernels odd_kernel only the bytes are in the estimate" in told
    assert "d8x1, batch 2 x 4: warning: Beware." in told
    assert "d9x1, batch 2 x 4: warning: It does not fit." in told


def test_a_document_has_one_row_a_step_and_no_axis_of_one_device() -> None:
    header, rule, fits, too_large = format_markdown([REPORT]).splitlines()
    assert header.count("|") == rule.count("|") == fits.count("|") == too_large.count("|")
    assert (
        "| tpu-v5e:2x2 | fsdp=4 | d8x1, batch 2 x 4 | 5.60e+12 | 3.50 of 16 GB | fused |"
        " 12.3 ms to 16.8 ms | 29 % to 40 % |" in fits
    )
    assert "| does not fit | - | - | - | nothing |" in too_large


def test_a_plan_has_the_compiled_memory_beside_the_predicted() -> None:
    told = words(format_beside(REPORT, {"one": 4e9, "three": 2e10}))
    assert "d8x1, batch 2 x 4 2 4.00 GB 3.50 GB 16.00 GB 12.3 ms to 16.8 ms 29 % to 40 %" in told
    assert "d9x1, batch 2 x 4 1 20.00 GB too much - - -" in told


def test_several_machines_are_told_of_wherever_a_time_stands() -> None:
    far = replace(FITS, collectives=(Collective("all-gather", 7, 1.5e9, 1e8, 0.5e9),))
    report = CompileReport("mine", "h100-80gb:16", "data=1,fsdp=16,tensor=1", "0.10", (far,))
    told = words(format_report(report))
    assert "2 machines of 8 GPUs, and of the network between them we assume 400 Gbit/s for each GPU" in told
    assert "0.50 GB of this come from other machines" in told
    assert "| fsdp=16, on 2 machines |" in format_markdown([report])
    assert "machines" not in format_report(REPORT)
