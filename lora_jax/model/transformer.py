"""A decoder-only transformer as a pure function of a flat parameter tree."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.attention import attend
from lora_jax.model.layers import gelu, layernorm, linear, rmsnorm, rope
from lora_jax.params import Params, Spec, Specs, count

BLOCKS = "blocks/"
TIED_SHRINK = 0.6  # a tied head then starts with logits of variance 0.36, its loss about 0.2 nats above ln V
# Up to so many layers are compiled as plain code, which takes 12 to 17 % off a CPU step (docs/speed.md);
# deeper models are a loop, one block a turn, so that compilation does not grow with depth.
UNROLL = 8
HEAD_STD = 0.02  # an untied head starts near zero, and the loss at ln V


def declare(config: ModelConfig) -> Specs:
    """Declare every weight of the model: path -> Spec. Blocks are stacked along a leading layer axis.

    Matrices start at std 1/sqrt(fan-in); those that write to the residual stream are smaller by
    sqrt(2 n_layers), so that its variance does not grow with depth (GPT-2, Radford et al. 2019, section 2.3).
    Embeddings start at 1/sqrt(d_model), not at GPT-2's 0.02, beside which the first block's output would
    drown the token for hundreds of steps.
    """
    D, V = ("d_model", config.d_model), ("vocab", config.vocab_size)
    embedding = config.d_model**-0.5 * (TIED_SHRINK if config.tied_head else 1.0)
    specs: Specs = {
        "embed/tokens": Spec((V, D), ("d_model",) if config.tied_head else (), std=embedding),
        **{BLOCKS + path: spec for path, spec in _declare_block(config).items()},
        **_declare_norm("final_norm", config, ()),
    }
    if config.positions == "learned":
        specs["embed/positions"] = Spec((("position", config.context), D), std=embedding)
    if not config.tied_head:
        specs["head"] = Spec((D, V), ("d_model",), std=HEAD_STD)
    return specs


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
        **_declare_norm("mlp_norm", config, (Y,)),
        "mlp/up": Spec((Y, D, F), ("d_model",), std=into),
        "mlp/down": Spec((Y, F, D), ("d_ff",), std=depth * F[1] ** -0.5),
    }
    if config.mlp == "swiglu":
        specs["mlp/gate"] = Spec((Y, D, F), ("d_model",), std=into)
    if config.bias:
        specs |= {f"attn/{name}_bias": Spec((Y, heads, K)) for name, heads in (("q", H), ("k", J), ("v", J))}
        specs |= {"attn/o_bias": Spec((Y, D)), "mlp/up_bias": Spec((Y, F)), "mlp/down_bias": Spec((Y, D))}
        if config.mlp == "swiglu":
            specs["mlp/gate_bias"] = Spec((Y, F))
    return specs


def _declare_norm(path: str, config: ModelConfig, stack: tuple[tuple[str, int], ...]) -> Specs:
    axes = (*stack, ("d_model", config.d_model))
    specs = {f"{path}/scale": Spec(axes, mean=1.0)}
    if config.norm == "layernorm" and config.bias:
        specs[f"{path}/bias"] = Spec(axes)
    return specs


def forward(config: ModelConfig, params: Params, tokens_BT: jax.Array) -> jax.Array:
    """Return the next-token logits (B, T, V) in float32 of token ids (B, T)."""
    T = tokens_BT.shape[1]
    if config.context < T:
        raise LoraJaxError(f"got {T} tokens, the model's context is {config.context}: shorten the sequence.")
    dtype = compute_dtype(config)
    x_BTD = params["embed/tokens"][tokens_BT].astype(dtype)
    if config.positions == "learned":
        x_BTD = x_BTD + params["embed/positions"][:T].astype(dtype)
    stacked = {path.removeprefix(BLOCKS): w for path, w in params.items() if path.startswith(BLOCKS)}
    x_BTD, _ = jax.lax.scan(
        lambda x, block: (apply_block(config, block, x), None),
        x_BTD,
        stacked,
        unroll=config.n_layers if config.n_layers <= UNROLL else 1,
    )
    x_BTD = _normalise(config, params, "final_norm", x_BTD)
    head_DV = params["embed/tokens"].T if config.tied_head else params["head"]
    return linear(x_BTD, head_DV).astype(jnp.float32)


def apply_block(config: ModelConfig, block: Params, x_BTD: jax.Array) -> jax.Array:
    """Apply one pre-norm block: x + attention(norm(x)), then x + mlp(norm(x))."""
    x_BTD = x_BTD + _attention(config, block, _normalise(config, block, "attn_norm", x_BTD))
    return x_BTD + _mlp(config, block, _normalise(config, block, "mlp_norm", x_BTD))


def _attention(config: ModelConfig, block: Params, x_BTD: jax.Array) -> jax.Array:
    q_BTHK, k_BTJK, v_BTJK = (_affine(block, f"attn/{name}", x_BTD) for name in "qkv")
    if config.positions == "rope":
        q_BTHK, k_BTJK = rope(q_BTHK, config.rope_theta), rope(k_BTJK, config.rope_theta)
    return _affine(block, "attn/o", attend(q_BTHK, k_BTJK, v_BTJK), n_contract=2)


def _mlp(config: ModelConfig, block: Params, x_BTD: jax.Array) -> jax.Array:
    up_BTF = _affine(block, "mlp/up", x_BTD)
    h_BTF = (
        jax.nn.silu(_affine(block, "mlp/gate", x_BTD)) * up_BTF if config.mlp == "swiglu" else gelu(up_BTF)
    )
    return _affine(block, "mlp/down", h_BTF)


def _affine(block: Params, path: str, x: jax.Array, n_contract: int = 1) -> jax.Array:
    y = linear(x, block[path], n_contract)
    bias = block.get(f"{path}_bias")
    return y if bias is None else y + bias.astype(y.dtype)


def _normalise(config: ModelConfig, params: Params, path: str, x_BTD: jax.Array) -> jax.Array:
    scale = params[f"{path}/scale"]
    if config.norm == "rmsnorm":
        return rmsnorm(x_BTD, scale, config.norm_eps)
    return layernorm(x_BTD, scale, params.get(f"{path}/bias"), config.norm_eps)


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """Return the dtype of activations: float32 on CPU and bfloat16 elsewhere, unless the config says."""
    if config.compute_dtype == "auto":
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    return jnp.dtype(config.compute_dtype)


@dataclass(frozen=True)
class ParameterCounts:
    """N by three conventions (facts that move fitted exponents: Porian et al. 2024, arXiv 2406.19146)."""

    non_embedding: int  # blocks and final norm: Kaplan et al. 2020
    with_head: int  # and d_model x vocab of the head, tied or not
    total: int  # every array once


def count_parameters(config: ModelConfig) -> ParameterCounts:
    """Count N from the declared shapes, without allocating."""
    specs = declare(config)
    body = count({path: spec for path, spec in specs.items() if not path.startswith(("embed/", "head"))})
    return ParameterCounts(body, body + config.d_model * config.vocab_size, count(specs))


def flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """Return the exact training FLOPs per token: forward plus twice that for the backward.

    Every matmul is counted, the head and the full T x T attention scores included, at two FLOPs a
    multiply-add; elementwise work is not (Hoffmann et al. 2022, appendix F).
    """
    matmuls = sum(spec.flops_per_token for spec in declare(config).values())
    attention = 4 * seq_len * config.n_heads * config.head_dim * config.n_layers
    return 3 * (matmuls + attention)
