"""The model against transformers' GPT-2 and Llama, on the files that tests/golden/make_golden.py made."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.model.transformer import forward

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES: dict[str, Any] = dict(d_model=32, n_layers=2, n_heads=4, vocab_size=96, context=24)
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "llama": dict(n_kv_heads=2, d_ff=48, tied_head=False, rope_theta=1e4, **LLAMA),
}
run = jax.jit(forward, static_argnums=0)
TOLERANCE = 2e-5  # float32 logits of order 1 through two blocks; a wrong epsilon alone moves them by more


def load(family: str) -> tuple[dict[str, np.ndarray], ModelConfig, dict[str, Any]]:
    """Return the golden file's other arrays, the config of the model in it, and its weights."""
    with np.load(GOLDEN / f"{family}_tiny.npz") as file:
        arrays = {name: file[name] for name in file.files}
    params = {
        name.removeprefix("params/"): jnp.asarray(arrays.pop(name))
        for name in list(arrays)
        if name.startswith("params/")
    }
    config = ModelConfig(
        **SIZES, **FAMILIES[family], norm_eps=float(arrays["norm_eps"]), compute_dtype="float32"
    )
    return arrays, config, params


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_loss_are_those_of_transformers(family: str) -> None:
    golden, config, params = load(family)
    logits = np.asarray(run(config, params, jnp.asarray(golden["tokens"])))
    np.testing.assert_allclose(logits, golden["logits"], rtol=0, atol=TOLERANCE)
    log_p = np.asarray(log_softmax(logits.astype(np.float64), axis=-1))[:, :-1]
    loss = -np.take_along_axis(log_p, golden["tokens"][:, 1:, None], axis=-1).mean()
    assert loss == pytest.approx(float(golden["loss"]), abs=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_shows_in_the_golden_logits(family: str) -> None:
    """So that the comparison above covers each of them: drop one and the logits move far more than it allows.

    The exception is the key's bias: it adds the same to a query's every score and cancels in the softmax.
    """
    golden, config, params = load(family)
    tokens = jnp.asarray(golden["tokens"])
    for name, value in params.items():
        logits = np.asarray(run(config, params | {name: jnp.zeros_like(value)}, tokens))
        moved = np.abs(logits - golden["logits"]).max()
        if name == "blocks/attn/k_bias":
            assert moved < TOLERANCE
        else:
            assert moved > 100 * TOLERANCE, name
