"""The section for accelerators, built and run at a tiny shape on a CPU."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.gpu import Size, fit_step, measure_gpu
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import flops_per_token
from lora_jax.target import Device

LLAMA_TINY = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=32, context=16, **LLAMA)


def keep_quiet(text: str) -> None:
    assert text


@pytest.mark.slow
def test_utilisation_is_flops_over_peak() -> None:
    device = Device("gpu", "any", 1e12, 1e9, 1e12, 1e9, 1e9, 1)
    size = Size("tiny", 32, 1, 1, 64)
    (section,) = measure_gpu(2, keep_quiet, [size], [16], device, turn_seconds=0.01)
    (row,) = section.rows
    assert row.label == "tiny, T 16, B 4"
    np.testing.assert_allclose(
        row["MFU"].samples,
        flops_per_token(size.model(16), 16) * np.array(row["tokens/s"].samples) / 1e12,
    )
    assert row["MFU"].at_least is None, "asked of large models alone"


def test_a_batch_that_does_not_fit_is_halved_and_then_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, str]] = []

    def make_turn(model: ModelConfig, seq_len: int, batch: int):
        tried.append((batch, model.remat))
        if len(tried) < 5:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return float

    monkeypatch.setattr("benchmarks.gpu.make_turn", make_turn)
    found = fit_step(LLAMA_TINY, 16, 4, keep_quiet)
    assert found is not None
    assert tried == [(4, "none"), (2, "none"), (1, "none"), (1, "dots"), (1, "full")]
    assert found[:2] == (dataclasses.replace(LLAMA_TINY, remat="full"), 1)


def test_the_section_gpu_needs_one() -> None:
    with pytest.raises(LoraJaxError, match="JAX sees a CPU alone"):
        measure_gpu(1, keep_quiet)
