"""Every architecture against transformers, on the checkpoints of tests/golden/make_golden_models.py."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from lora_jax.config import LLAMA, ModelConfig, RopeScaling
from lora_jax.huggingface.architectures.architecture import find_architecture
from lora_jax.huggingface.checkpoints.folder import Checkpoint, load_folder
from lora_jax.model.declare import declare
from lora_jax.model.transformer import Inputs, forward

pytestmark = pytest.mark.committed
GOLDEN = Path(__file__).parents[1] / "golden" / "models"
DECODERS = ("gpt2", "llama", "llama3_tied", "mistral", "pythia", "neox_sequential", "qwen2", "qwen3")
ENCODERS = ("bert", "bert_classifier")
TOLERANCE = 2e-5  # float32 logits of order 1 through two blocks; a wrong epsilon alone moves them by more
# What is computed is the same without XLA's optimisations, and ten models are compiled in half the time.
run = jax.jit(forward, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})


@lru_cache
def load(case: str) -> tuple[Checkpoint, dict[str, Any]]:
    with np.load(GOLDEN / case / "golden.npz") as file:
        return load_folder(GOLDEN / case), {name: file[name] for name in file.files}


def compute(case: str, params: dict[str, Any]) -> np.ndarray:
    """Return our logits where the golden ones are defined: a padded position of an encoder is not."""
    checkpoint, golden = load(case)
    T = golden["tokens"].shape[1]
    if case in DECODERS:
        # as wide as the greedy buffer, so that one program serves every test of the case
        tokens = np.pad(golden["tokens"], ((0, 0), (0, checkpoint.config.context - T)))
        return np.asarray(run(checkpoint.config, params, jnp.asarray(tokens)))[:, :T]
    inputs = Inputs(*(jnp.asarray(golden[name]) for name in ("tokens", "mask")), types_BT=golden["types"])
    out = np.asarray(run(checkpoint.config, params, inputs))
    return out if case == "bert_classifier" else out * golden["mask"][..., None]


def golden_logits(case: str) -> np.ndarray:
    golden = load(case)[1]
    return golden["logits"] * golden["mask"][..., None] if case == "bert" else golden["logits"]


@pytest.mark.parametrize("case", DECODERS + ENCODERS)
def test_logits_are_those_of_transformers(case: str) -> None:
    checkpoint, _ = load(case)
    np.testing.assert_allclose(compute(case, checkpoint.params), golden_logits(case), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", DECODERS)
def test_loss_and_greedy_tokens_are_those_of_transformers(case: str) -> None:
    checkpoint, golden = load(case)
    tokens, greedy = golden["tokens"], golden["greedy"]
    log_p = np.asarray(log_softmax(compute(case, checkpoint.params).astype(np.float64), axis=-1))[:, :-1]
    loss = -np.take_along_axis(log_p, tokens[:, 1:, None], axis=-1).mean()
    assert loss == pytest.approx(float(golden["loss"]), abs=1e-6)

    n_greedy, context = greedy.shape[1], checkpoint.config.context
    n_prompt = context - n_greedy
    buffer = np.pad(tokens[:, :n_prompt], ((0, 0), (0, n_greedy)))
    for position in range(n_prompt, context):
        logits = np.asarray(run(checkpoint.config, checkpoint.params, jnp.asarray(buffer)))
        buffer[:, position] = logits[:, position - 1].argmax(-1)
    np.testing.assert_array_equal(buffer[:, n_prompt:], greedy)


@pytest.mark.parametrize("case", DECODERS + ENCODERS)
def test_every_weight_shows_in_the_golden_logits(case: str) -> None:
    """So that the comparison above covers each of them: drop one and the logits move far more than it allows.

    The exception is the key's bias: it adds the same to a query's every score and cancels in the softmax,
    unless positions rotate it.
    """
    checkpoint, _ = load(case)
    expected = golden_logits(case)
    for path, value in checkpoint.params.items():
        moved = np.abs(
            compute(case, checkpoint.params | {path: np.zeros(value.shape, value.dtype)}) - expected
        ).max()
        if path == "blocks/attn/k_bias" and checkpoint.config.positions == "learned":
            assert moved < TOLERANCE
        else:
            assert moved > 100 * TOLERANCE, path


LLAMA_3_2: dict[str, Any] = dict(  # of meta-llama/Llama-3.2-1B
    model_type="llama",
    hidden_size=2048,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    intermediate_size=8192,
    vocab_size=128256,
    max_position_embeddings=131072,
    head_dim=64,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    hidden_act="silu",
    attention_bias=False,
    rope_theta=500000.0,
    rope_scaling=dict(
        rope_type="llama3",
        factor=32.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=8192,
    ),
)


def test_configurations_of_before_transformers_5_are_read() -> None:
    config = find_architecture("llama").read_config(LLAMA_3_2, None)
    scaling = RopeScaling(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=8192)
    assert config == ModelConfig(
        d_model=2048,
        n_layers=16,
        n_heads=32,
        n_kv_heads=8,
        d_ff=8192,
        vocab_size=128256,
        context=131072,
        rope_theta=5e5,
        rope_scaling=scaling,
        **LLAMA,
    )
    assert sum(spec.size for spec in declare(config).values()) == 1_235_814_400  # as its model card says

    pythia = dict(  # of EleutherAI/pythia-160m
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        vocab_size=50304,
        max_position_embeddings=2048,
        rotary_pct=0.25,
        rotary_emb_base=10000,
        hidden_act="gelu",
        use_parallel_residual=True,
        tie_word_embeddings=False,
    )
    config = find_architecture("gpt_neox").read_config(pythia, None)
    assert (config.rotary_dim, config.rope_theta, config.mlp) == (16, 10000, "gelu_exact")
    assert sum(spec.size for spec in declare(config).values()) == 162_322_944  # as its model card says
