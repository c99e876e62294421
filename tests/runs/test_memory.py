"""The predicted memory of a step, against XLA's own analysis of the compiled one."""

import itertools

import pytest

from lora_jax.model.declare import count_parameters
from lora_jax.runs.memory import memory_bytes, step_bytes
from lora_jax.runs.sweep import overlay
from tests.runs.step_memory import CASES, RELATIVE, SIZES, Case, make_run, measure, predict

CHUNKED = Case((64, 2, 128, 16, 32_000), "llama")  # logits of 262 MB, 8 chunks
FAST = [Case(SIZES[0], "gpt2"), Case(SIZES[1], "llama", "none", "lora", 4), CHUNKED]


@pytest.mark.parametrize("case", FAST, ids=str)
def test_memory_is_close_to_xlas_own_analysis(case: Case) -> None:
    assert predict(case) == pytest.approx(measure(case), rel=0.15)


@pytest.mark.slow  # 3 to 10 s of compilation each
@pytest.mark.parametrize(
    "case", [*(case for case in CASES if case not in FAST), CHUNKED._replace(trains="lora")], ids=str
)
def test_memory_is_close_of_every_shape_policy_and_method(case: Case) -> None:
    assert predict(case) == pytest.approx(measure(case), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RELATIVE)
@pytest.mark.parametrize("size", [SIZES[1], SIZES[2], SIZES[6], SIZES[7], SIZES[8]], ids=str)
def test_memory_is_close_with_relative_positions(size: tuple[int, ...], kind: str) -> None:
    case = Case(size, kind)
    assert predict(case) == pytest.approx(measure(case), rel=0.15)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.d_model", 128), ("model.n_layers", 3), ("model.n_heads", 4), ("model.d_ff", 1024),
        ("model.vocab_size", 512), ("optim.batch_size", 64),
    ],
)  # fmt: skip
def test_more_of_anything_takes_more_memory(field: str, value: object) -> None:
    run = make_run(64, 2, 128, 32, 256)
    assert memory_bytes(overlay(run, {field: value})) > memory_bytes(run)


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
def test_deeper_always_takes_more_memory(remat: str) -> None:
    sizes = [memory_bytes(make_run(64, layers, 128, 32, 256, remat=remat)) for layers in range(1, 50)]
    assert all(a < b for a, b in itertools.pairwise(sizes))


def test_what_is_computed_again_is_not_kept() -> None:
    none, dots, full = (
        memory_bytes(make_run(128, 12, 128, 32, 256, remat=remat)) for remat in ("none", "dots", "full")
    )
    assert full < dots < none


def test_state_alone_is_four_arrays_of_weights() -> None:
    run = make_run(64, 2, 1, 1, 256)
    assert memory_bytes(run) == pytest.approx(16 * count_parameters(run.model).total, rel=0.05)


def test_lanes_share_a_frozen_base_and_nothing_else() -> None:
    run = make_run(64, 2, 128, 32, 256)
    assert memory_bytes(run, lanes=4) == 4 * memory_bytes(run)
    base = 4 * count_parameters(run.model).total
    one, four = (step_bytes(run.model, 32, 128, lanes=lanes, n_adapter=1000) for lanes in (1, 4))
    assert four - base == 4 * (one - base)
