"""Make the golden file of tests/peft/test_adapters.py: a tiny BERT with adapters, as AdapterHub computes it.

    pip install torch==2.13.0      (first and pinned, or several GB of CUDA packages arrive with it)
    pip install adapters
    python tests/golden/make_golden_adapters.py

in an environment of its own; this file imports nothing of lora_jax. bert_adapters.npz holds the base's
weights under the names and shapes of docs/architecture.md ("params/..."), those of each kind of adapter
("houlsby/blocks/...", "lin/...", "parallel/..."), tokens (2, 12), the last hidden states (2, 12, 16) without
("hidden") and with each kind ("houlsby/hidden", ...), and the versions. Every weight is random, biases and
norms too, so that none is trivially 0 or 1 and each one shows in the hidden states.

The configurations are those that equal the papers' definitions on a post-norm block: the adapter reads what
the sublayer gives before the residual sum and its norm (original_ln_before=False, original_ln_after=True),
and its own skip connection starts there. AdapterHub's `DoubleSeqBnConfig` has just that (with swish); its
`SeqBnConfig` (Pfeiffer), which reads behind the norm, is another adapter and has no counterpart here.
"""

import platform
from pathlib import Path

import adapters
import numpy as np
import torch
import transformers
from adapters import BnConfig
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent
D_MODEL, N_LAYERS, N_HEADS, D_FF, VOCAB, CONTEXT, RANK = 16, 2, 2, 24, 40, 16, 4
HEAD_DIM = D_MODEL // N_HEADS
SHARED = dict(
    reduction_factor=D_MODEL / RANK, original_ln_before=False, original_ln_after=True, residual_before_ln=True
)
KINDS = {
    "houlsby": BnConfig(mh_adapter=True, output_adapter=True, non_linearity="gelu", **SHARED),
    "lin": BnConfig(mh_adapter=False, output_adapter=True, non_linearity="relu", ln_before=True, **SHARED),
    "parallel": BnConfig(
        mh_adapter=True, output_adapter=True, non_linearity="relu", is_parallel=True, scaling=4.0, **SHARED
    ),
}
# AdapterHub's module -> our sublayer
SUBLAYERS = {"attention.output": "attn", "output": "mlp"}
NAMES = {"houlsby": "adapter", "lin": "adapter", "parallel": "parallel_adapter"}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw every parameter anew: matrices and biases 0.3 n, norm scales 1 + 0.3 n."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_scale = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_norm_scale else 0.3 * noise)


def map_base(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """BERT's Linear weights are (out, in)."""

    def of_layers(name: str) -> np.ndarray:
        return np.stack([weights[f"encoder.layer.{layer}.{name}"] for layer in range(N_LAYERS)])

    def transposed(name: str) -> np.ndarray:
        return of_layers(name).swapaxes(1, 2)

    params = {
        "embed/tokens": weights["embeddings.word_embeddings.weight"],
        "embed/positions": weights["embeddings.position_embeddings.weight"],
        "embed/types": weights["embeddings.token_type_embeddings.weight"],
        "embed/norm/scale": weights["embeddings.LayerNorm.weight"],
        "embed/norm/bias": weights["embeddings.LayerNorm.bias"],
        "blocks/attn/o": transposed("attention.output.dense.weight").reshape(-1, N_HEADS, HEAD_DIM, D_MODEL),
        "blocks/attn/o_bias": of_layers("attention.output.dense.bias"),
        "blocks/attn_norm/scale": of_layers("attention.output.LayerNorm.weight"),
        "blocks/attn_norm/bias": of_layers("attention.output.LayerNorm.bias"),
        "blocks/mlp/up": transposed("intermediate.dense.weight"),
        "blocks/mlp/up_bias": of_layers("intermediate.dense.bias"),
        "blocks/mlp/down": transposed("output.dense.weight"),
        "blocks/mlp/down_bias": of_layers("output.dense.bias"),
        "blocks/mlp_norm/scale": of_layers("output.LayerNorm.weight"),
        "blocks/mlp_norm/bias": of_layers("output.LayerNorm.bias"),
    }
    for short, long in (("q", "query"), ("k", "key"), ("v", "value")):
        weight = transposed(f"attention.self.{long}.weight")
        params[f"blocks/attn/{short}"] = weight.reshape(N_LAYERS, D_MODEL, N_HEADS, HEAD_DIM)
        bias = of_layers(f"attention.self.{long}.bias")
        params[f"blocks/attn/{short}_bias"] = bias.reshape(N_LAYERS, N_HEADS, HEAD_DIM)
    return params


def map_adapter(kind: str, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return one kind's weights; with a norm in front, that is the first module of adapter_down."""
    params: dict[str, np.ndarray] = {}
    for theirs, sublayer in SUBLAYERS.items():
        places = [f"encoder.layer.{layer}.{theirs}.adapters.{kind}" for layer in range(N_LAYERS)]

        def stack(name: str, places: list[str] = places) -> np.ndarray:
            return np.stack([weights[f"{place}.{name}"] for place in places])

        if f"{places[0]}.adapter_up.weight" not in weights:
            continue
        has_norm = f"{places[0]}.adapter_norm_before.weight" in weights
        down = f"adapter_down.{int(has_norm)}"
        ours = f"blocks/{sublayer}_{NAMES[kind]}"
        params |= {
            f"{ours}/down": stack(f"{down}.weight").swapaxes(1, 2),
            f"{ours}/down_bias": stack(f"{down}.bias"),
            f"{ours}/up": stack("adapter_up.weight").swapaxes(1, 2),
            f"{ours}/up_bias": stack("adapter_up.bias"),
        }
        if has_norm:
            params[f"{ours}/norm/scale"] = stack("adapter_norm_before.weight")
            params[f"{ours}/norm/bias"] = stack("adapter_norm_before.bias")
    return params


def main() -> None:
    config = BertConfig(
        hidden_size=D_MODEL,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        intermediate_size=D_FF,
        vocab_size=VOCAB,
        max_position_embeddings=CONTEXT,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False)
    adapters.init(model)
    for kind, shape in KINDS.items():
        model.add_adapter(kind, config=shape)
    randomise(model, seed=0)
    model.eval()
    tokens = torch.randint(VOCAB, (2, 12), generator=torch.Generator().manual_seed(1))

    def run(kind: str | None) -> np.ndarray:
        model.set_active_adapters(kind)
        with torch.no_grad():
            return model(tokens).last_hidden_state.numpy()

    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    base = map_base(weights)
    arrays = {f"params/{name}": value for name, value in base.items()} | {"hidden": run(None)}
    n_mapped = sum(value.size for value in base.values())
    for kind in KINDS:
        params = map_adapter(kind, weights)
        n_mapped += sum(value.size for value in params.values())
        arrays |= {f"{kind}/{name}": value for name, value in params.items()} | {f"{kind}/hidden": run(kind)}
        assert np.abs(arrays[f"{kind}/hidden"] - arrays["hidden"]).max() > 0.1
    assert n_mapped == sum(value.size for value in weights.values())  # nothing lost, nothing counted twice
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "adapters": adapters.__version__,
    }
    path = HERE / "bert_adapters.npz"
    np.savez_compressed(
        path,
        tokens=tokens.numpy().astype(np.int32),
        versions=np.array([f"{name}=={version}" for name, version in versions.items()]),
        **{name: np.ascontiguousarray(value) for name, value in arrays.items()},
    )
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
