"""Make the golden files of tests/model/test_parity.py: two tiny random models and what transformers computes.

    pip install torch==2.13.0      (first and pinned, or several GB of CUDA packages arrive with it)
    pip install transformers
    python tests/golden/make_golden.py

in an environment of its own; this file imports nothing of lora_jax. Each file holds the weights under the
names and shapes of docs/architecture.md ("params/..."), tokens (2, 16), logits (2, 16, 96), the mean
next-token loss in nats, and the versions. Every weight is random, biases and norms too, so that none is
trivially 0 or 1 and each one shows in the logits.
"""

import platform
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
D_MODEL, N_LAYERS, N_HEADS, N_KV_HEADS, D_FF, VOCAB, CONTEXT = 32, 2, 4, 2, 48, 96, 24
HEAD_DIM = D_MODEL // N_HEADS


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every parameter anew: matrices 0.2 n (logits of order 1), biases 0.2 n, norm scales 1 + 0.3 n."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_scale = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_norm_scale else 0.2 * noise)


def stack(weights: dict[str, np.ndarray], pattern: str) -> np.ndarray:
    """Return one weight of all layers along a leading layer axis; `pattern` has {} for the layer."""
    return np.stack([weights[pattern.format(layer)] for layer in range(N_LAYERS)])


def map_gpt2(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """GPT-2's Conv1D weights are (in, out), with q, k and v side by side in c_attn."""

    def of_layers(name: str) -> np.ndarray:
        return stack(weights, "transformer.h.{}." + name)

    q_k_v = np.split(of_layers("attn.c_attn.weight"), 3, axis=-1)
    q_k_v_bias = np.split(of_layers("attn.c_attn.bias"), 3, axis=-1)
    params = {
        "embed/tokens": weights["transformer.wte.weight"],
        "embed/positions": weights["transformer.wpe.weight"],
        "blocks/attn_norm/scale": of_layers("ln_1.weight"),
        "blocks/attn_norm/bias": of_layers("ln_1.bias"),
        "blocks/attn/o": of_layers("attn.c_proj.weight").reshape(N_LAYERS, N_HEADS, HEAD_DIM, D_MODEL),
        "blocks/attn/o_bias": of_layers("attn.c_proj.bias"),
        "blocks/mlp_norm/scale": of_layers("ln_2.weight"),
        "blocks/mlp_norm/bias": of_layers("ln_2.bias"),
        "blocks/mlp/up": of_layers("mlp.c_fc.weight"),
        "blocks/mlp/up_bias": of_layers("mlp.c_fc.bias"),
        "blocks/mlp/down": of_layers("mlp.c_proj.weight"),
        "blocks/mlp/down_bias": of_layers("mlp.c_proj.bias"),
        "final_norm/scale": weights["transformer.ln_f.weight"],
        "final_norm/bias": weights["transformer.ln_f.bias"],
    }
    for name, weight, bias in zip("qkv", q_k_v, q_k_v_bias, strict=True):
        params[f"blocks/attn/{name}"] = weight.reshape(N_LAYERS, D_MODEL, N_HEADS, HEAD_DIM)
        params[f"blocks/attn/{name}_bias"] = bias.reshape(N_LAYERS, N_HEADS, HEAD_DIM)
    return params


def map_llama(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Llama's Linear weights are (out, in); its rotary embedding pairs the two halves of a head."""

    def of_layers(name: str) -> np.ndarray:
        return stack(weights, "model.layers.{}." + name + ".weight")

    def transposed(name: str) -> np.ndarray:
        return of_layers(name).swapaxes(1, 2)

    return {
        "embed/tokens": weights["model.embed_tokens.weight"],
        "blocks/attn_norm/scale": of_layers("input_layernorm"),
        "blocks/attn/q": transposed("self_attn.q_proj").reshape(N_LAYERS, D_MODEL, N_HEADS, HEAD_DIM),
        "blocks/attn/k": transposed("self_attn.k_proj").reshape(N_LAYERS, D_MODEL, N_KV_HEADS, HEAD_DIM),
        "blocks/attn/v": transposed("self_attn.v_proj").reshape(N_LAYERS, D_MODEL, N_KV_HEADS, HEAD_DIM),
        "blocks/attn/o": transposed("self_attn.o_proj").reshape(N_LAYERS, N_HEADS, HEAD_DIM, D_MODEL),
        "blocks/mlp_norm/scale": of_layers("post_attention_layernorm"),
        "blocks/mlp/up": transposed("mlp.up_proj"),
        "blocks/mlp/gate": transposed("mlp.gate_proj"),
        "blocks/mlp/down": transposed("mlp.down_proj"),
        "final_norm/scale": weights["model.norm.weight"],
        "head": weights["lm_head.weight"].T,
    }


def save(path: Path, model: torch.nn.Module, to_ours, norm_eps: float, seed: int) -> None:
    """Randomise the model, run it once on random tokens and write everything to `path`."""
    randomise(model, seed)
    model.eval()
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    params = to_ours(weights)
    # Nothing lost and nothing counted twice: the tied head is one parameter on both sides.
    assert sum(p.size for p in params.values()) == sum(w.size for w in weights.values())
    assert all(p.dtype == np.float32 for p in params.values())

    tokens = torch.randint(VOCAB, (2, 16), generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        out = model(tokens, labels=tokens)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }
    np.savez_compressed(
        path,
        tokens=tokens.numpy().astype(np.int32),
        logits=out.logits.numpy(),
        loss=np.float32(out.loss.item()),
        norm_eps=np.float64(norm_eps),
        versions=np.array([f"{name}=={version}" for name, version in versions.items()]),
        **{f"params/{name}": np.ascontiguousarray(value) for name, value in params.items()},
    )
    print(f"{path.name}: {path.stat().st_size} bytes, loss {out.loss:.6f}, logits sd {out.logits.std():.3f}")


def main() -> None:
    gpt2 = GPT2Config(
        n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS, vocab_size=VOCAB, n_positions=CONTEXT,
        activation_function="gelu_new", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    save(HERE / "gpt2_tiny.npz", GPT2LMHeadModel(gpt2), map_gpt2, gpt2.layer_norm_epsilon, seed=0)
    llama = LlamaConfig(
        hidden_size=D_MODEL, num_hidden_layers=N_LAYERS, num_attention_heads=N_HEADS,
        num_key_value_heads=N_KV_HEADS, intermediate_size=D_FF, vocab_size=VOCAB,
        max_position_embeddings=CONTEXT, rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    save(HERE / "llama_tiny.npz", LlamaForCausalLM(llama), map_llama, llama.rms_norm_eps, seed=2)


if __name__ == "__main__":
    main()
