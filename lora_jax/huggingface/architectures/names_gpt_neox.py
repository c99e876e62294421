"""GPT-NeoX and Pythia: the rows of query_key_value are [q | k | v] of one head after another."""

from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module, Part
from lora_jax.huggingface.architectures.fields import Fields, name_activation
from lora_jax.huggingface.architectures.rope import RopeNames, read_rope, write_rope

DEFAULTS = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24576,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "use_parallel_residual": True,
    "attention_bias": True,
}
ROPE = RopeNames(theta="rotary_emb_base", share="rotary_pct", default_share=0.25)


def read_config(source: Json, n_classes: int | None) -> ModelConfig:
    """Convert a Hugging Face `config.json` to a `ModelConfig`.

    rotary_pct and rotary_emb_base are names from before transformers 5.

    Raises:
        LoraJaxError: A field has a value that is not supported.
    """
    fields = Fields(source, DEFAULTS)
    fields.refuse_unless(attention_bias=True)
    return ModelConfig(
        d_model=fields.size("hidden_size"),
        n_layers=fields.size("num_hidden_layers"),
        n_heads=fields.size("num_attention_heads"),
        vocab_size=fields.size("vocab_size"),
        context=fields.size("max_position_embeddings"),
        d_ff=fields.size("intermediate_size"),
        norm_eps=fields.number("layer_norm_eps"),
        positions="rope",
        mlp=fields.activation("hidden_act"),
        tied_head=fields.flag("tie_word_embeddings"),
        parallel_residual=fields.flag("use_parallel_residual"),
        n_classes=n_classes,
        **read_rope(source, ROPE),
    )


def write_config(config: ModelConfig) -> Json:
    """Convert a `ModelConfig` to the fields of a `config.json`."""
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
    defaults=DEFAULTS,
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
