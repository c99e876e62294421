"""The benchmark's PyTorch sides compute what ours do: losses, gradients, steps."""

from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import lora
from benchmarks.side import Side
from benchmarks.steps import LEARNING_RATE, N_CHECKED, OPTIM, Shape, draw_windows, measure_steps
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.training.loss import window_losses
from lora_jax.training.pretraining import init_pretraining

pytestmark = pytest.mark.parity
SHAPE = Shape(64, 3, 16, 4)  # two heads


@pytest.fixture(autouse=True)
def _needs_torch() -> None:
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason=f"parity with PyTorch needs {package}")


def keep_quiet(text: str) -> None:
    assert text


def test_loss_and_gradient_at_the_same_weights() -> None:
    import torch

    from benchmarks.pytorch.step import build

    # Every weight moved: biases start at zero and scales at one, which would hide a swap.
    noise = np.random.default_rng(0)
    weights = {
        path: np.asarray(w) + 0.1 * noise.standard_normal(w.shape).astype(np.float32)
        for path, w in init_pretraining(SHAPE.model, OPTIM, 0).trainable.items()
    }
    windows_BU = draw_windows(SHAPE)
    loss, gradient = jax.value_and_grad(lambda w: window_losses(SHAPE.model, w, windows_BU).mean())(weights)
    model = build(weights)
    theirs = model(torch.tensor(np.asarray(windows_BU)).long())
    theirs.backward()
    assert theirs.item() == pytest.approx(float(loss), rel=1e-6)
    D = SHAPE.d_model
    found = {name: weight.grad.numpy() for name, weight in model.named_parameters()}
    for y in range(SHAPE.n_layers):
        qkv = np.concatenate([np.asarray(gradient[f"blocks/attn/{n}"][y]).reshape(D, D) for n in "qkv"], 1)
        pairs = {
            "qkv.weight": qkv.T,
            "o.weight": np.asarray(gradient["blocks/attn/o"][y]).reshape(D, D).T,
            "up.bias": gradient["blocks/mlp/up_bias"][y],
            "down.weight": np.asarray(gradient["blocks/mlp/down"][y]).T,
            "attn_norm.weight": gradient["blocks/attn_norm/scale"][y],
            "mlp_norm.bias": gradient["blocks/mlp_norm/bias"][y],
        }
        for name, ours in pairs.items():
            np.testing.assert_allclose(found[f"blocks.{y}.{name}"], ours, atol=2e-6, err_msg=name)
    np.testing.assert_allclose(found["tokens.weight"], gradient["embed/tokens"], atol=2e-6)
    np.testing.assert_allclose(found["positions.weight"], gradient["embed/positions"], atol=2e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_from_the_same_weights_stay_together(tmp_path: Path, compiled: bool) -> None:
    """Clipping, AdamW's moments and which weights decay, too: later losses are those of the same training."""
    given = {"shape": asdict(SHAPE), "folder": str(tmp_path)}
    with Side("benchmarks.steps:work_on_step", given) as side:
        ours = side.facts["losses"]
    settings = {
        "folder": str(tmp_path),
        "platform": "cpu",
        "compiled": compiled,
        "n_checked": N_CHECKED,
        "optim": asdict(OPTIM) | {"learning_rate": LEARNING_RATE},
    }
    with Side("benchmarks.pytorch.step:work_on_step", settings) as side:
        theirs = side.facts["losses"]
    assert len(ours) == N_CHECKED
    assert ours[-1] < ours[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


def test_the_table_of_the_step_beside_pytorch() -> None:
    first, second = measure_steps(2, keep_quiet, [SHAPE], turn_seconds=0.01)
    assert (first.name, second.name) == ("step", "torch")
    (row,) = second.rows
    assert {"ours", "eager", "ours / eager"} <= {figure.name for figure in row.figures}
    assert "PyTorch" in second.note


def test_lora_beside_peft_has_the_same_loss() -> None:
    model = ModelConfig(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=64, context=32, **LLAMA)
    (section,) = lora.measure_lora(2, keep_quiet, [lora.Base("tiny", model, 16, 2)], turn_seconds=0.01)
    (row,) = section.rows
    assert row["speed, ours / peft"].median > 0
    assert 0.05 < row["peft's memory"].median < 5
