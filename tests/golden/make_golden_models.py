"""Make tests/golden/models: a tiny random checkpoint of every architecture, and what transformers computes.

    pip install torch==2.13.0      (first and pinned, or several GB of CUDA packages arrive with it)
    pip install transformers safetensors
    python tests/golden/make_golden_models.py

in an environment of its own; this file imports nothing of lora_jax. tests/huggingface/test_architectures.py
reads the folders, tests/parity/test_transformers.py makes such models live. Each folder is as transformers
wrote it, with golden.npz beside: tokens (2, 16), logits, the mean next-token loss in nats and 64 greedy
tokens of a decoder; tokens, padding, token types and hidden states or logits of an encoder; the versions.
Every weight is random, biases and norms too, so that none is trivially 0 or 1 and each one shows in the
logits. Weights are rounded to the dtype of the files before anything is computed, which is in float32.
"""

import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent / "models"
D_MODEL, N_LAYERS, N_HEADS, N_KV_HEADS, D_FF, VOCAB = 16, 2, 4, 2, 24, 64
N_TOKENS, N_PROMPT, N_GREEDY, CONTEXT = 16, 8, 64, 72
SIZES: dict[str, Any] = dict(
    hidden_size=D_MODEL,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=N_HEADS,
    intermediate_size=D_FF,
    vocab_size=VOCAB,
    max_position_embeddings=CONTEXT,
    attn_implementation="eager",
)
DECODER: dict[str, Any] = dict(bos_token_id=0, eos_token_id=None, pad_token_id=0)
GROUPED: dict[str, Any] = dict(num_key_value_heads=N_KV_HEADS, **SIZES, **DECODER)
WIDE: dict[str, Any] = SIZES | dict(num_attention_heads=2)  # of which a quarter is 2 numbers
# At a width of 8, wavelengths of 6 positions (kept), 20 (between), 63 and 199 (stretched).
LLAMA3: dict[str, Any] = dict(
    rope_type="llama3",
    rope_theta=100.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)


class Case(NamedTuple):
    """A checkpoint to make: transformers' classes, the configuration's fields, the dtype of the files."""

    config: str
    model: str
    fields: dict[str, Any]
    dtype: str = "bfloat16"
    max_shard_size: str = "1GB"


CASES = {
    "gpt2": Case(
        "GPT2Config",
        "GPT2LMHeadModel",
        dict(
            n_embd=D_MODEL,
            n_layer=N_LAYERS,
            n_head=N_HEADS,
            n_inner=D_FF,
            vocab_size=VOCAB,
            n_positions=CONTEXT,
            attn_implementation="eager",
            **DECODER,
        ),
        dtype="float32",
    ),
    "llama": Case(
        "LlamaConfig",
        "LlamaForCausalLM",
        dict(tie_word_embeddings=False, rms_norm_eps=1e-5, **GROUPED),
        max_shard_size="8KB",
    ),
    "llama3_tied": Case(
        "LlamaConfig",
        "LlamaForCausalLM",
        dict(tie_word_embeddings=True, head_dim=8, rope_parameters=LLAMA3, **GROUPED),
    ),
    "mistral": Case(
        "MistralConfig",
        "MistralForCausalLM",
        dict(sliding_window=CONTEXT, **GROUPED | dict(max_position_embeddings=2 * CONTEXT)),
    ),
    "pythia": Case(
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        dict(
            rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.25),
            **WIDE,
            **DECODER,
        ),
        dtype="float16",
    ),
    "neox_sequential": Case(
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        dict(
            use_parallel_residual=False,
            rope_parameters=dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=0.5),
            **WIDE,
            **DECODER,
        ),
        dtype="float16",
    ),
    "qwen2": Case("Qwen2Config", "Qwen2ForCausalLM", dict(tie_word_embeddings=False, **GROUPED)),
    "qwen3": Case("Qwen3Config", "Qwen3ForCausalLM", dict(tie_word_embeddings=True, head_dim=6, **GROUPED)),
    "bert": Case("BertConfig", "BertModel", SIZES),
    "bert_classifier": Case("BertConfig", "BertForSequenceClassification", dict(num_labels=3, **SIZES)),
}


def make_model(case: Case, seed: int) -> Any:
    """Return the model, every parameter drawn anew: matrices 0.2 n, biases 0.2 n, norm scales 1 + 0.3 n.

    The scale of the matrices gives logits of order 1.
    """
    import torch
    import transformers

    config = getattr(transformers, case.config)(**case.fields)
    model = getattr(transformers, case.model)(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_scale = parameter.ndim == 1 and name.endswith("weight")
            noise = 1 + 0.3 * noise if is_norm_scale else 0.2 * noise
            parameter.copy_(noise.to(getattr(torch, case.dtype)))
    return model


def run_model(case: Case, model: Any, seed: int) -> dict[str, np.ndarray]:
    """Return what the model computes in float32, with what it read."""
    import torch

    generator = torch.Generator().manual_seed(1000 + seed)
    tokens = torch.randint(VOCAB, (2, N_TOKENS), generator=generator)
    if case.config == "BertConfig":
        mask = torch.ones_like(tokens)
        mask[1, N_TOKENS - 5 :] = 0
        types = torch.randint(2, (2, N_TOKENS), generator=generator)
        with torch.no_grad():
            out = model(tokens, attention_mask=mask, token_type_ids=types)
        logits = out.logits if "logits" in out else out.last_hidden_state
        arrays = {"mask": mask, "types": types, "logits": logits}
    else:
        with torch.no_grad():
            out = model(tokens, labels=tokens)
            greedy = model.generate(
                tokens[:, :N_PROMPT],
                attention_mask=torch.ones(2, N_PROMPT, dtype=torch.long),
                do_sample=False,
                max_new_tokens=N_GREEDY,
            )
        arrays = {"logits": out.logits, "loss": out.loss, "greedy": greedy[:, N_PROMPT:]}
    arrays["tokens"] = tokens
    return {
        name: array.numpy() if array.is_floating_point() else array.numpy().astype(np.int32)
        for name, array in arrays.items()
    }


def save_model(case: Case, model: Any, folder: Path) -> None:
    """Write the checkpoint in the dtype of the case, as transformers does; the model keeps its float32."""
    import copy

    import torch

    copied = copy.deepcopy(model).to(getattr(torch, case.dtype))
    copied.save_pretrained(folder, max_shard_size=case.max_shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)


def main() -> None:
    """Write every folder."""
    import torch
    import transformers

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }
    stamp = np.array([f"{name}=={version}" for name, version in versions.items()])
    for seed, (name, case) in enumerate(CASES.items()):
        model = make_model(case, seed)
        with tempfile.TemporaryDirectory() as temporary:
            save_model(case, model, Path(temporary) / name)
            arrays = run_model(case, model, seed)
            np.savez_compressed(Path(temporary) / name / "golden.npz", versions=stamp, **arrays)
            shutil.rmtree(HERE / name, ignore_errors=True)
            shutil.copytree(Path(temporary) / name, HERE / name)
        n_bytes = sum(path.stat().st_size for path in (HERE / name).iterdir())
        print(f"{name}: {n_bytes} bytes, logits sd {arrays['logits'].std():.3f}")


if __name__ == "__main__":
    main()
