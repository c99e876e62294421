"""The predicted memory of a step on an accelerator, against what the compiler said of the same step.

The numbers are those of `lora-jax compile` with JAX 0.10.2. docs/accelerators.md has more of them.
"""

from dataclasses import replace

import pytest

from lora_jax.config import LLAMA, DataConfig, ModelConfig, OptimConfig, RunConfig
from lora_jax.target import parse_target
from lora_jax.training.device_memory import Split, predict_memory

WITHIN = 0.15
H100 = parse_target("h100")


def make_run(d: int, layers: int, heads: int, seq_len: int, batch: int, **more: object) -> RunConfig:
    settings: dict[str, object] = {"vocab_size": 50_304, **more}
    n_parts = settings.pop("accumulate", 1)
    model = ModelConfig(d_model=d, n_layers=layers, n_heads=heads, context=seq_len, **settings)  # type: ignore[arg-type]
    optim = OptimConfig(batch_size=batch, accumulate=n_parts)  # type: ignore[arg-type]
    return RunConfig(
        model=model, data=DataConfig(seq_len=seq_len), optim=optim, n_tokens=1000 * batch * seq_len
    )


LLAMA_1K = {**LLAMA, "tied_head": False, "vocab_size": 1024}
# What one H100 holds, in GB: the benchmark's shapes, plain code and loops, and every policy of recomputing.
COMPILED = [
    (make_run(768, 12, 12, 1024, 32), 13.314),
    (make_run(768, 6, 12, 1024, 32), 7.063),
    (make_run(768, 8, 12, 1024, 1), 1.858),
    (make_run(768, 24, 12, 1024, 32), 25.137),
    (make_run(1024, 24, 16, 1024, 16), 20.581),
    (make_run(2048, 24, 16, 2048, 4), 37.764),
    (make_run(768, 12, 12, 1024, 32, remat="dots"), 8.588),
    (make_run(768, 12, 12, 1024, 32, remat="full"), 3.782),
    (make_run(1024, 24, 16, 2048, 32, remat="dots"), 37.771),
    (make_run(768, 12, 12, 1024, 32, accumulate=4), 5.626),
    (make_run(768, 6, 12, 1024, 32, **LLAMA_1K), 5.918),
    (make_run(768, 24, 12, 1024, 32, **LLAMA_1K), 24.445),
    (make_run(768, 12, 12, 1024, 32, **LLAMA_1K, remat="dots"), 8.596),
    (make_run(768, 12, 12, 1024, 32, **LLAMA_1K, remat="full"), 2.954),
]


@pytest.mark.parametrize(("run", "gigabytes"), COMPILED)
def test_memory_is_close_to_what_the_compiler_says(run: RunConfig, gigabytes: float) -> None:
    assert predict_memory(run, H100).peak == pytest.approx(1e9 * gigabytes, rel=WITHIN)


def test_fsdp_divides_the_state_and_the_rows() -> None:
    run = make_run(768, 12, 12, 1024, 32)
    one, four = predict_memory(run, H100), predict_memory(run, parse_target("h100:4"), Split(fsdp=4))
    assert four.peak == pytest.approx(3.831e9, rel=WITHIN)
    assert (four.state, four.saved, four.gradients) == pytest.approx(
        (one.state / 4, one.saved / 4, one.gradients / 4)
    )


def test_rows_are_divided_and_weights_are_not_where_each_device_has_them_all() -> None:
    run = make_run(768, 12, 12, 1024, 32)
    one, four = predict_memory(run, H100), predict_memory(run, parse_target("h100:4"), Split(data=4))
    assert (four.state, four.saved) == pytest.approx((one.state, one.saved / 4))


def test_attention_without_a_kernel_holds_its_scores() -> None:
    """They grow with the square of the sequence, and a kernel's memory with its length."""
    short, long = (
        predict_memory(make_run(768, 12, 12, seq_len, 65_536 // seq_len, vocab_size=1024), H100).saved
        for seq_len in (1024, 4096)
    )
    assert short == long
    wide = {"vocab_size": 1024, "compute_dtype": "float32"}  # cuDNN's kernel takes 16-bit numbers
    short, long = (
        predict_memory(make_run(768, 12, 12, seq_len, 65_536 // seq_len, **wide), H100).saved
        for seq_len in (1024, 4096)
    )
    assert long > 2 * short


def test_what_is_computed_again_is_not_kept_and_more_takes_more() -> None:
    run = make_run(768, 12, 12, 1024, 32)
    peaks = [
        predict_memory(replace(run, model=replace(run.model, remat=remat)), H100).peak
        for remat in ("none", "dots", "full")
    ]
    assert peaks == sorted(peaks, reverse=True)
    deeper = [predict_memory(make_run(768, layers, 12, 1024, 32), H100).peak for layers in range(1, 30)]
    assert deeper == sorted(deeper)
