"""GPT-2: Conv1D weights are stored as (in, out), and q, k and v lie side by side in c_attn."""

from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module, Part
from lora_jax.huggingface.architectures.fields import Fields, join_names, name_activation

DEFAULTS = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
OTHER_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


def read_config(source: Json, n_classes: int | None) -> ModelConfig:
    """Convert a Hugging Face `config.json` to a `ModelConfig`.

    Raises:
        LoraJaxError: A field has a value that is not supported.
    """
    fields = Fields(join_names(source, OTHER_NAMES), DEFAULTS)
    fields.refuse_unless(
        scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
    )
    return ModelConfig(
        d_model=fields.size("n_embd"),
        n_layers=fields.size("n_layer"),
        n_heads=fields.size("n_head"),
        vocab_size=fields.size("vocab_size"),
        context=fields.size("n_positions"),
        d_ff=fields.optional_size("n_inner"),
        norm_eps=fields.number("layer_norm_epsilon"),
        mlp=fields.activation("activation_function"),
        tied_head=fields.flag("tie_word_embeddings"),
        n_classes=n_classes,
    )


def write_config(config: ModelConfig) -> Json:
    """Convert a `ModelConfig` to the fields of a `config.json`."""
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
    defaults=DEFAULTS,
    read_config=read_config,
    write_config=write_config,
    skipped=(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",),
    heads=(r"lm_head\.weight", r"score\.weight"),
)
ARCHITECTURES = (GPT2,)
