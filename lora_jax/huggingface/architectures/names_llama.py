"""Llama's names. SmolLM, Mistral, Qwen2 (biases on q, k, v) and Qwen3 (norms on q, k) share them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import Architecture, Json, Module
from lora_jax.huggingface.architectures.fields import Fields
from lora_jax.huggingface.architectures.rope import read_rope, write_rope

FULL, SLIDING = "full_attention", "sliding_attention"
SHARED: Json = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,  # None takes num_attention_heads
    "head_dim": None,  # None takes hidden_size / num_attention_heads
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
QWEN: Json = SHARED | {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
DEFAULTS: dict[str, Json] = {
    "llama": SHARED | {"attention_bias": False, "mlp_bias": False, "sliding_window": None},
    "mistral": SHARED
    | {
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": QWEN,
    "qwen3": QWEN | {"head_dim": 128, "attention_bias": False},
}


class Family(NamedTuple):
    """What one member of Llama's family has of its own.

    Attributes:
        model_type: model_type of config.json.
        features: Fields of ModelConfig (qkv_bias, qk_norm).
        has_layer_types: Whether a window slides in some layers only, as set by use_sliding_window,
            max_window_layers and layer_types. Other families have it in every layer or in none.
    """

    model_type: str
    features: Mapping[str, bool]
    has_layer_types: bool


def _reader(family: Family) -> Callable[[Json, int | None], ModelConfig]:
    """Return the function that converts a family's config.json to a ModelConfig."""
    defaults = DEFAULTS[family.model_type]
    without = {name: False for name in ("attention_bias", "mlp_bias") if name in defaults}

    def read_config(source: Json, n_classes: int | None) -> ModelConfig:
        fields = Fields(source, defaults)
        fields.refuse_unless(**without)
        fields.activation("hidden_act", {"silu": "swiglu"})
        d_model, n_heads = fields.size("hidden_size"), fields.size("num_attention_heads")
        head_width = fields.size("head_dim") if defaults["head_dim"] else fields.optional_size("head_dim")
        rope: dict[str, Any] = read_rope(source)
        return ModelConfig(
            d_model=d_model,
            n_layers=fields.size("num_hidden_layers"),
            n_heads=n_heads,
            vocab_size=fields.size("vocab_size"),
            context=_read_context(fields, family),
            n_kv_heads=fields.optional_size("num_key_value_heads") or n_heads,
            d_ff=fields.size("intermediate_size"),
            norm_eps=fields.number("rms_norm_eps"),
            tied_head=fields.flag("tie_word_embeddings"),
            head_width=None if head_width in (None, d_model / n_heads) else head_width,
            n_classes=n_classes,
            **rope,
            **family.features,
            **LLAMA,
        )

    return read_config


def _read_context(fields: Fields, family: Family) -> int:
    """Return the longest sequence. If a window slides, it is the window, inside which nothing is hidden."""
    context, window = fields.size("max_position_embeddings"), fields.optional_size("sliding_window")
    if family.has_layer_types and not _slides(fields, window):
        return context
    return context if window is None else min(context, window)


def _slides(fields: Fields, window: int | None) -> bool:
    """Return whether any layer has a window."""
    if not fields.flag("use_sliding_window"):
        window = None
    n_layers, kinds = fields.size("num_hidden_layers"), fields.read("layer_types")
    if kinds is None:
        first = fields.read("max_window_layers")
        if not isinstance(first, int) or isinstance(first, bool):
            raise LoraJaxError(f"config.json has max_window_layers {first!r}, but it must be a whole number.")
        return window is not None and n_layers > first
    for kind in set(kinds) - {FULL, SLIDING}:
        raise LoraJaxError(f"config.json has layers of {kind!r}, supported are {FULL!r} and {SLIDING!r}.")
    if len(kinds) != n_layers:
        raise LoraJaxError(
            f"config.json has {n_layers} layers and layer_types of {len(kinds)}: mend the file."
        )
    if SLIDING in kinds and window is None:
        raise LoraJaxError(
            f"config.json has layers of {SLIDING!r} in layer_types and no window for them (use_sliding_window"
            f" {fields.read('use_sliding_window')!r}, sliding_window {fields.read('sliding_window')!r}): mend"
            " the file."
        )
    return SLIDING in kinds


def write_config(config: ModelConfig) -> Json:
    """Convert a `ModelConfig` to the fields of a `config.json`."""
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


def _family(
    model_type: str, class_prefix: str, *, has_layer_types: bool = False, **features: bool
) -> Architecture:
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
        defaults=DEFAULTS[model_type],
        read_config=_reader(Family(model_type, features, has_layer_types)),
        write_config=write_config,
        skipped=(r"(model\.)?layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
        heads=(r"lm_head\.weight", r"score\.weight"),
    )


ARCHITECTURES = (
    _family("llama", "Llama"),
    _family("mistral", "Mistral"),
    _family("qwen2", "Qwen2", has_layer_types=True, qkv_bias=True),
    _family("qwen3", "Qwen3", has_layer_types=True, qk_norm=True),
)
