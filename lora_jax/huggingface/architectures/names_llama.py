"""Llama's names, which SmolLM, Mistral, Qwen2 (biases on q, k, v) and Qwen3 (norms on q, k) share."""

from collections.abc import Callable

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module
from lora_jax.huggingface.architectures.fields import (
    read_activation,
    read_rope,
    read_size,
    refuse_unless,
    write_rope,
)

KINDS = {"full_attention", "sliding_attention"}


def _reader(**features: bool) -> Callable[[Json, int | None], ModelConfig]:
    """Return the reader of a config.json; features: what the family has (qkv_bias, qk_norm)."""

    def read_config(source: Json, n_classes: int | None) -> ModelConfig:
        refuse_unless(source, attention_bias=False, mlp_bias=False)
        for kind in set(source.get("layer_types") or ()) - KINDS:
            raise LoraJaxError(f"config.json has layers of {kind!r}, supported are {sorted(KINDS)}.")
        read_activation(source, "hidden_act", "silu", {"silu": "swiglu"})
        d_model, n_heads = read_size(source, "hidden_size"), read_size(source, "num_attention_heads")
        default_width = 128 if features.get("qk_norm") else None
        head_width = source.get("head_dim", default_width)
        return ModelConfig(
            d_model=d_model,
            n_layers=read_size(source, "num_hidden_layers"),
            n_heads=n_heads,
            vocab_size=read_size(source, "vocab_size"),
            context=_read_context(source),
            n_kv_heads=source.get("num_key_value_heads", n_heads),
            d_ff=read_size(source, "intermediate_size"),
            norm_eps=source.get("rms_norm_eps", 1e-6),
            tied_head=source.get("tie_word_embeddings", False),
            head_width=None if head_width in (None, d_model / n_heads) else head_width,
            n_classes=n_classes,
            **read_rope(source),
            **features,
            **LLAMA,
        )

    return read_config


def _read_context(source: Json) -> int:
    """Return the longest sequence: inside its window a sliding window hides nothing."""
    context, window = read_size(source, "max_position_embeddings"), source.get("sliding_window")
    if window is None or source.get("use_sliding_window", True) is False:
        return context
    return min(context, window)


def write_config(config: ModelConfig) -> Json:
    """Return the fields of a config.json."""
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.ff_width,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "sliding_window": None,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "tie_word_embeddings": config.tied_head,
        **write_rope(config),
    }


MODULES = {
    "attn/q": Module("self_attn.q_proj"),
    "attn/k": Module("self_attn.k_proj"),
    "attn/v": Module("self_attn.v_proj"),
    "attn/o": Module("self_attn.o_proj"),
    "mlp/up": Module("mlp.up_proj"),
    "mlp/gate": Module("mlp.gate_proj"),
    "mlp/down": Module("mlp.down_proj"),
    "embed/tokens": Module("model.embed_tokens", transposed=False),
    "head": Module("lm_head"),
    "classifier": Module("score"),
}


def _family(model_type: str, class_prefix: str, **features: bool) -> Architecture:
    return Architecture(
        model_type=model_type,
        class_prefix=class_prefix,
        lm_class=f"{class_prefix}ForCausalLM",
        root="model.",
        layer_prefix="model.layers.{}.",
        modules=MODULES,
        norms={
            "attn_norm": "input_layernorm",
            "mlp_norm": "post_attention_layernorm",
            "attn/q_norm": "self_attn.q_norm",
            "attn/k_norm": "self_attn.k_norm",
            "final_norm": "model.norm",
        },
        read_config=_reader(**features),
        write_config=write_config,
        skipped=(r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
        heads=(r"lm_head\.weight", r"score\.weight"),
    )


ARCHITECTURES = (
    _family("llama", "Llama"),
    _family("mistral", "Mistral"),
    _family("qwen2", "Qwen2", qkv_bias=True),
    _family("qwen3", "Qwen3", qk_norm=True),
)
