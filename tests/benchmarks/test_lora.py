"""LoRA in the benchmark, by itself and beside peft."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import lora
from benchmarks.adapters import make_batch, open_adapters
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.training.loss import window_losses

LLAMA_TINY = ModelConfig(d_model=16, n_layers=2, n_heads=2, vocab_size=32, context=16, **LLAMA)


def keep_quiet(text: str) -> None:
    assert text


@pytest.mark.slow  # two processes
def test_lora_without_peft_has_its_own_figures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "is_here", lambda *_: False)
    (section,) = lora.measure_lora(2, keep_quiet, [lora.Base("tiny", LLAMA_TINY, 16, 2)], turn_seconds=0.01)
    (row,) = section.rows
    assert [figure.name for figure in row.figures] == ["step", "memory"]
    assert 0.05 < row["memory"].median < 5
    assert row.settings["method"]["rank"] == 8
    assert "peft and PyTorch are not installed" in section.note


def test_lora_beside_peft_is_compared_by_speed_and_memory() -> None:
    base = lora.Base("tiny", LLAMA_TINY, 16, 2)
    seconds = {lora.OURS: [0.5, 0.25], lora.PEFT: [1.0, 1.0]}
    row = lora.make_row(base, seconds, {lora.OURS: 3 * 10**9, lora.PEFT: 2 * 10**9}, True)
    assert row["speed, ours / peft"].samples == (2.0, 4.0)
    assert row["memory, ours / peft"].samples == (1.5,)
    assert row["memory, ours / peft"].better == "less"


def test_a_batch_of_whole_rows_has_the_loss_of_pretraining() -> None:
    windows_BU = np.random.default_rng(0).integers(32, size=(3, 16)).astype(np.int32)
    base = init(declare(LLAMA_TINY), 0)
    opened = open_adapters(LLAMA_TINY, base, [make_batch(windows_BU)])
    (loss,) = opened.lanes.step(opened.given)
    assert float(loss) == pytest.approx(
        float(window_losses(LLAMA_TINY, base, jnp.asarray(windows_BU)).mean()), rel=1e-5
    )
