"""BERT encoders: the bare model (MiniLM), and the model with a classification head on its pooler."""

from lora_jax.config import BERT as BERT_CHOICES
from lora_jax.config import ModelConfig
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module
from lora_jax.huggingface.architectures.fields import Fields, name_activation

DEFAULTS = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",  # a key of transformers 4: version 5 has no other kind
}


def read_config(source: Json, n_classes: int | None) -> ModelConfig:
    """Convert a Hugging Face `config.json` to a `ModelConfig`.

    Raises:
        LoraJaxError: A field has a value that is not supported.
    """
    fields = Fields(source, DEFAULTS)
    fields.refuse_unless(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    choices = BERT_CHOICES | {
        "norm_eps": fields.number("layer_norm_eps"),
        "mlp": fields.activation("hidden_act"),
        "n_token_types": fields.size("type_vocab_size"),
    }
    return ModelConfig(
        d_model=fields.size("hidden_size"),
        n_layers=fields.size("num_hidden_layers"),
        n_heads=fields.size("num_attention_heads"),
        vocab_size=fields.size("vocab_size"),
        context=fields.size("max_position_embeddings"),
        d_ff=fields.size("intermediate_size"),
        n_classes=n_classes,
        **choices,
    )


def write_config(config: ModelConfig) -> Json:
    """Convert a `ModelConfig` to the fields of a `config.json`."""
    return {
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context,
        "intermediate_size": config.ff_width,
        "layer_norm_eps": config.norm_eps,
        "hidden_act": name_activation(config),
        "type_vocab_size": config.n_token_types,
        "position_embedding_type": "absolute",
    }


MODULES = {
    "attn/q": Module("attention.self.query"),
    "attn/k": Module("attention.self.key"),
    "attn/v": Module("attention.self.value"),
    "attn/o": Module("attention.output.dense"),
    "mlp/up": Module("intermediate.dense"),
    "mlp/down": Module("output.dense"),
    "embed/tokens": Module("bert.embeddings.word_embeddings", transposed=False),
    "embed/positions": Module("bert.embeddings.position_embeddings", transposed=False),
    "embed/types": Module("bert.embeddings.token_type_embeddings", transposed=False),
    "pooler": Module("bert.pooler.dense"),
    "classifier": Module("classifier"),
}

BERT = Architecture(
    model_type="bert",
    class_prefix="Bert",
    lm_class=None,
    root="bert.",
    layer_prefix="bert.encoder.layer.{}.",
    modules=MODULES,
    norms={
        "embed/norm": "bert.embeddings.LayerNorm",
        "attn_norm": "attention.output.LayerNorm",
        "mlp_norm": "output.LayerNorm",
    },
    defaults=DEFAULTS,
    read_config=read_config,
    write_config=write_config,
    skipped=(r"(bert\.)?embeddings\.position_ids",),
    heads=(r"(bert\.)?pooler\.dense\.(weight|bias)", r"cls\..*", r"classifier\.(weight|bias)"),
)
ARCHITECTURES = (BERT,)
