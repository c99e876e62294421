"""The predicted memory of a step, against XLA's own analysis of the compiled one."""

import itertools

import pytest

from lora_jax.model.declare import count_parameters
from lora_jax.runs.sweep import overlay
from lora_jax.training.cpu_memory import memory_bytes, step_bytes
from tests.training.step_memory import KINDS, SIZES, Case, make_run, measure, predict

CHUNKED = Case((64, 2, 128, 16, 32_000), "llama")  # logits of 262 MB, 8 chunks
FAST = [Case(SIZES[0], "gpt2"), Case(SIZES[1], "llama", "none", "lora", 4), CHUNKED]
# Of what the prediction was fitted to: each size, and each policy, method and kind at several sizes.
FEW = [
    *(Case(size, kind) for size, kind in zip(SIZES, 5 * list(KINDS), strict=True) if size != SIZES[0]),
    Case(SIZES[2], "gpt2", "dots"),
    Case(SIZES[3], "llama", "full"),
    Case(SIZES[7], "llama", "dots"),
    Case(SIZES[8], "gpt2", "full"),
    Case(SIZES[2], "gpt2", trains="lora"),
    Case(SIZES[7], "llama", trains="lora"),
    CHUNKED._replace(trains="lora"),
    Case(SIZES[1], "gpt2", trains="lora", lanes=4),
    Case(SIZES[1], "llama", lanes=4),
    Case(SIZES[1], "t5"),
    Case(SIZES[7], "t5"),
    Case(SIZES[2], "transformer-xl"),
    Case(SIZES[6], "transformer-xl"),
    Case(SIZES[8], "transformer-xl"),
]


@pytest.mark.parametrize("case", FAST, ids=str)
def test_memory_is_close_to_xlas_own_analysis(case: Case) -> None:
    assert predict(case) == pytest.approx(measure(case), rel=0.15)


@pytest.mark.slow  # 3 to 10 s of compilation each; all together: tests/training/step_memory.py
@pytest.mark.parametrize("case", FEW, ids=str)
def test_memory_is_close_of_every_shape_policy_and_method(case: Case) -> None:
    assert predict(case) == pytest.approx(measure(case), rel=0.15)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.d_model", 128),
        ("model.n_layers", 3),
        ("model.n_heads", 4),
        ("model.d_ff", 1024),
        ("model.vocab_size", 512),
        ("optim.batch_size", 64),
    ],
)
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
