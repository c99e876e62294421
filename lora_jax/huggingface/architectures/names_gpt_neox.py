"""GPT-NeoX and Pythia: query_key_value's rows are [q | k | v] of one head after another."""

from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module, Part
from lora_jax.huggingface.architectures.fields import (
    name_activation,
    read_activation,
    read_rope,
    read_size,
    refuse_unless,
    write_rope,
)


def read_config(source: Json, n_classes: int | None) -> ModelConfig:
    """Return ours of a config.json; rotary_pct and rotary_emb_base are the names before transformers 5."""
    refuse_unless(source, attention_bias=True)
    rope = {"rope_theta": source.get("rotary_emb_base", 10_000.0), **source}
    in_rope = source.get("rope_parameters") or {}
    return ModelConfig(
        d_model=read_size(source, "hidden_size"),
        n_layers=read_size(source, "num_hidden_layers"),
        n_heads=read_size(source, "num_attention_heads"),
        vocab_size=read_size(source, "vocab_size"),
        context=read_size(source, "max_position_embeddings"),
        d_ff=read_size(source, "intermediate_size"),
        norm_eps=source.get("layer_norm_eps", 1e-5),
        positions="rope",
        rope_fraction=in_rope.get("partial_rotary_factor", source.get("rotary_pct", 0.25)),
        mlp=read_activation(source, "hidden_act", "gelu"),
        tied_head=source.get("tie_word_embeddings", False),
        parallel_residual=source.get("use_parallel_residual", True),
        n_classes=n_classes,
        **read_rope(rope),
    )


def write_config(config: ModelConfig) -> Json:
    """Return the fields of a config.json."""
    rope = write_rope(config)
    rope["rope_parameters"]["partial_rotary_factor"] = config.rope_fraction
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "intermediate_size": config.ff_width,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": name_activation(config),
        "tie_word_embeddings": config.tied_head,
        "use_parallel_residual": config.parallel_residual,
        "attention_bias": True,
        "rotary_pct": config.rope_fraction,
        "rotary_emb_base": config.rope_theta,
        **rope,
    }


MODULES = {
    "attn/q": Module("attention.query_key_value", Part(0, 3, "heads")),
    "attn/k": Module("attention.query_key_value", Part(1, 3, "heads")),
    "attn/v": Module("attention.query_key_value", Part(2, 3, "heads")),
    "attn/o": Module("attention.dense"),
    "mlp/up": Module("mlp.dense_h_to_4h"),
    "mlp/down": Module("mlp.dense_4h_to_h"),
    "embed/tokens": Module("gpt_neox.embed_in", transposed=False),
    "head": Module("embed_out"),
    "classifier": Module("score"),
}

GPT_NEOX = Architecture(
    model_type="gpt_neox",
    class_prefix="GPTNeoX",
    lm_class="GPTNeoXForCausalLM",
    root="gpt_neox.",
    layer_prefix="gpt_neox.layers.{}.",
    modules=MODULES,
    norms={
        "attn_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
        "final_norm": "gpt_neox.final_layer_norm",
    },
    read_config=read_config,
    write_config=write_config,
    skipped=(
        r"(gpt_neox\.)?layers\.\d+\.attention\.(bias|masked_bias)",
        r"(gpt_neox\.)?layers\.\d+\.attention\.rotary_emb\.inv_freq",
    ),
    heads=(r"embed_out\.weight", r"score\.weight"),
    # transformers 5 calls the module lm_head, and embed_out in the file
    other_names={"lm_head.weight": "embed_out.weight"},
)
ARCHITECTURES = (GPT_NEOX,)
