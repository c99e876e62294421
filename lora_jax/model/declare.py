"""Declare every weight of a transformer once. Counts and FLOPs follow from the shapes alone."""

from dataclasses import dataclass
from functools import lru_cache

from lora_jax.config import ModelConfig
from lora_jax.model.parametrisation import base_of, has_base, restart
from lora_jax.model.relative import N_BUCKETS
from lora_jax.model.stacks import BLOCKS, split_specs
from lora_jax.params import Spec, Specs, count

TIED_SHRINK = (
    0.6  # with it a tied head starts at logits of variance 0.36 and a loss about 0.2 nats above ln V
)
HEAD_STD = 0.02  # with it an untied head starts near zero, so the loss starts at ln V
RELATIVE_STD = 0.02  # for what relative positions add to the scores, and for Transformer-XL's two biases

MOST_COUNTED = 1024  # how many models' counts we remember: a sweep has thousands of runs of a few models


def declare(config: ModelConfig, n_top: int = 0) -> Specs:
    """Declare every weight of a model, as a dictionary from path to `Spec`.

    The blocks are stacked along a leading layer axis. In the standard parametrisation matrices start at std
    1/sqrt(fan-in). Those that write to the residual stream are smaller by sqrt(2 n_layers), so that its
    variance does not grow with depth. Embeddings start at 1/sqrt(d_model). With GPT-2's 0.02 the first
    block's output would drown the token for hundreds of steps.

    Args:
        config: The shape of the model.
        n_top: Number of blocks, from the top, that get a stack of their own (model/stacks.py).

    Reference: Radford et al. 2019 (GPT-2), section 2.3.
    """
    base = _declare_standard(base_of(config)) if has_base(config) else {}
    return split_specs(restart(config, _declare_standard(config), base), n_top)


def _declare_standard(config: ModelConfig) -> Specs:
    D, V = ("d_model", config.d_model), ("vocab", config.vocab_size)
    is_head = config.tied_head and config.has_lm_head
    embedding = config.d_model**-0.5 * (TIED_SHRINK if is_head else 1.0)
    specs: Specs = {
        "embed/tokens": Spec((V, D), ("d_model",) if is_head else (), std=embedding),
        **{BLOCKS + path: spec for path, spec in _declare_block(config).items()},
        **_declare_norm("final_norm" if config.norm_placement == "pre" else "embed/norm", config, ()),
    }
    if config.positions == "learned":
        specs["embed/positions"] = Spec((("position", config.context), D), std=embedding)
    if config.positions == "t5":
        heads = ("heads", config.n_heads)
        specs["relative_bias"] = Spec((("bucket", N_BUCKETS), heads), std=RELATIVE_STD)
    if config.n_token_types:
        specs["embed/types"] = Spec((("type", config.n_token_types), D), std=embedding)
    return specs | _declare_head(config)


def _declare_head(config: ModelConfig) -> Specs:
    """Declare an untied language-model head, or a classifier.

    An encoder's has BERT's tanh pooler and biases.
    """
    D = ("d_model", config.d_model)
    if config.has_lm_head:
        return (
            {}
            if config.tied_head
            else {"head": Spec((D, ("vocab", config.vocab_size)), ("d_model",), std=HEAD_STD)}
        )
    if config.n_classes is None:
        return {}
    C = ("class", config.n_classes)
    classifier = {"classifier": Spec((D, C), ("d_model",), std=HEAD_STD)}
    if config.causal:
        return classifier
    return {
        "pooler": Spec((D, ("pooled", config.d_model)), ("d_model",), std=config.d_model**-0.5),
        "pooler_bias": Spec((("pooled", config.d_model),)),
        "classifier": Spec((("pooled", config.d_model), C), ("pooled",), std=HEAD_STD),
        "classifier_bias": Spec((C,)),
    }


def _declare_block(config: ModelConfig) -> Specs:
    Y, D, F = ("layers", config.n_layers), ("d_model", config.d_model), ("d_ff", config.ff_width)
    H, J, K = ("heads", config.n_heads), ("kv_heads", config.kv_heads), ("head_dim", config.head_dim)
    into = D[1] ** -0.5
    depth = (2 * config.n_layers) ** -0.5
    specs: Specs = {
        **_declare_norm("attn_norm", config, (Y,)),
        "attn/q": Spec((Y, D, H, K), ("d_model",), std=into),
        "attn/k": Spec((Y, D, J, K), ("d_model",), std=into),
        "attn/v": Spec((Y, D, J, K), ("d_model",), std=into),
        "attn/o": Spec((Y, H, K, D), ("heads", "head_dim"), std=depth * (H[1] * K[1]) ** -0.5),
        **({} if config.shared_norm else _declare_norm("mlp_norm", config, (Y,))),
        "mlp/up": Spec((Y, D, F), ("d_model",), std=into),
        "mlp/down": Spec((Y, F, D), ("d_ff",), std=depth * F[1] ** -0.5),
    }
    if config.is_gated:
        specs["mlp/gate"] = Spec((Y, D, F), ("d_model",), std=into)
    if config.positions == "transformer_xl":
        specs |= {
            "attn/r": Spec((Y, D, H, K), ("d_model",), std=into),
            "attn/content_bias": Spec((Y, H, K), std=RELATIVE_STD),
            "attn/position_bias": Spec((Y, H, K), std=RELATIVE_STD),
        }
    if config.qk_norm:
        specs |= {"attn/q_norm/scale": Spec((Y, K), mean=1.0), "attn/k_norm/scale": Spec((Y, K), mean=1.0)}
    if config.bias if config.qkv_bias is None else config.qkv_bias:
        specs |= {f"attn/{name}_bias": Spec((Y, heads, K)) for name, heads in (("q", H), ("k", J), ("v", J))}
    if config.bias:
        specs |= {"attn/o_bias": Spec((Y, D)), "mlp/up_bias": Spec((Y, F)), "mlp/down_bias": Spec((Y, D))}
        if config.is_gated:
            specs["mlp/gate_bias"] = Spec((Y, F))
    return specs


def _declare_norm(path: str, config: ModelConfig, stack: tuple[tuple[str, int], ...]) -> Specs:
    axes = (*stack, ("d_model", config.d_model))
    specs = {f"{path}/scale": Spec(axes, mean=1.0)}
    if config.norm == "layernorm" and config.bias:
        specs[f"{path}/bias"] = Spec(axes)
    return specs


@dataclass(frozen=True)
class ParameterCounts:
    """N by three conventions. The choice moves fitted exponents (Porian et al. 2024, arXiv 2406.19146).

    Attributes:
        non_embedding: Blocks and final norm (Kaplan et al. 2020).
        with_head: The same, and d_model x vocab of the head, tied or not.
        total: Every array once.
    """

    non_embedding: int
    with_head: int
    total: int


@lru_cache(MOST_COUNTED)
def count_parameters(config: ModelConfig) -> ParameterCounts:
    """Count N from the declared shapes, without allocating anything.

    `with_head` counts a classifier's head at its own size. An encoder without a head has none to count.
    """
    specs = declare(config)
    outside = ("embed/", "head", "classifier", "pooler")
    body = count({path: spec for path, spec in specs.items() if not path.startswith(outside)})
    head = config.d_model * config.vocab_size
    if not config.has_lm_head:
        head = count(
            {path: spec for path, spec in specs.items() if path.startswith(("classifier", "pooler"))}
        )
    return ParameterCounts(body, body + head, count(specs))


@lru_cache(MOST_COUNTED)
def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Return the exact training FLOPs per token: forward, plus twice that for the backward pass.

    Every matrix multiplication counts two FLOPs for each multiply-add. This includes the head and the full T
    x T attention scores. Elementwise work does not count (Hoffmann et al. 2022, appendix F). Transformer-XL
    projects as many distances as a sequence has tokens, once for each sequence. They score against every
    query once more.
    """
    matmuls = sum(spec.flops_per_token for spec in declare(config).values())
    products = (
        6 if config.positions == "transformer_xl" else 4
    )  # scores and values, and the scores of the distances
    attention = products * seq_len * config.n_heads * config.head_dim * config.n_layers
    return 3 * (matmuls + attention)
