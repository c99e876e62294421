"""GPT-2: Conv1D weights (in, out), q, k and v side by side in c_attn."""

from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module, Part
from lora_jax.huggingface.architectures.fields import (
    name_activation,
    read_activation,
    read_size,
    refuse_unless,
)


def read_config(source: Json, n_classes: int | None) -> ModelConfig:
    """Return ours of a config.json, with transformers' defaults where it leaves a field out."""
    refuse_unless(
        source, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
    )
    return ModelConfig(
        d_model=read_size(source, "n_embd"),
        n_layers=read_size(source, "n_layer"),
        n_heads=read_size(source, "n_head"),
        vocab_size=read_size(source, "vocab_size"),
        context=read_size(source, "n_positions"),
        d_ff=source.get("n_inner"),
        norm_eps=source.get("layer_norm_epsilon", 1e-5),
        mlp=read_activation(source, "activation_function", "gelu_new"),
        tied_head=source.get("tie_word_embeddings", True),
        n_classes=n_classes,
    )


def write_config(config: ModelConfig) -> Json:
    """Return the fields of a config.json."""
    return {
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_inner": config.d_ff,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": name_activation(config),
        "tie_word_embeddings": config.tied_head,
    }


MODULES = {
    "attn/q": Module("attn.c_attn", Part(0, 3, "blocks"), transposed=False),
    "attn/k": Module("attn.c_attn", Part(1, 3, "blocks"), transposed=False),
    "attn/v": Module("attn.c_attn", Part(2, 3, "blocks"), transposed=False),
    "attn/o": Module("attn.c_proj", transposed=False),
    "mlp/up": Module("mlp.c_fc", transposed=False),
    "mlp/down": Module("mlp.c_proj", transposed=False),
    "embed/tokens": Module("transformer.wte", transposed=False),
    "embed/positions": Module("transformer.wpe", transposed=False),
    "head": Module("lm_head"),
    "classifier": Module("score"),
}

GPT2 = Architecture(
    model_type="gpt2",
    class_prefix="GPT2",
    lm_class="GPT2LMHeadModel",
    root="transformer.",
    layer_prefix="transformer.h.{}.",
    modules=MODULES,
    norms={"attn_norm": "ln_1", "mlp_norm": "ln_2", "final_norm": "transformer.ln_f"},
    read_config=read_config,
    write_config=write_config,
    skipped=(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",),
    heads=(r"lm_head\.weight", r"score\.weight"),
)
ARCHITECTURES = (GPT2,)
