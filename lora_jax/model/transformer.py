"""A transformer, decoder or encoder, as a pure function of a flat parameter tree."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.attention import Visible, attend, see_segments
from lora_jax.model.compiled_for import on_cpu
from lora_jax.model.gathering import gather_weights, look_up
from lora_jax.model.hooks import NO_HOOKS, HookPoint, Hooks, Pass, fold_path
from lora_jax.model.layers import ACTIVATIONS, GATED_ACTIVATIONS, layernorm, linear, rmsnorm, rope
from lora_jax.model.parametrisation import readout_multiplier, residual_multiplier
from lora_jax.model.placing import BATCH_AXES, hold
from lora_jax.model.relative import find_key_positions, relate, score_buckets
from lora_jax.model.splash_attention import SAVED
from lora_jax.model.stacks import STACKS, inside_block
from lora_jax.params import Params

# Up to this many layers are compiled as plain code, which makes a CPU step 12 to 17 % shorter
# (docs/performance.md). Deeper models are a loop over blocks, so that compilation does not grow with depth.
UNROLL = 8
# What we keep of a block for its backward pass if not everything: the products with weights and the output of
# a TPU's attention, or only the block's input (Chen et al. 2016, arXiv 1604.06174).
REMAT = {
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(SAVED),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}
SEEN_BY_ALL = -1  # the segment of prompts, which stand in front of every other segment


class Inputs(NamedTuple):
    """What the model reads. Everything but the tokens may be left out.

    Attributes:
        tokens_BT: Token ids.
        segments_BT: A position sees only its own segment. Examples that are packed in a row have ids 1, 2,
            ..., and padding has 0. None is one segment without padding.
        positions_BT: Positions, counted from 0 in each segment. None is 0, 1, 2, ...
        types_BT: Token types of BERT. None is all 0.
    """

    tokens_BT: jax.Array
    segments_BT: jax.Array | None = None
    positions_BT: jax.Array | None = None
    types_BT: jax.Array | None = None


class Layout(NamedTuple):
    """What every block needs to know about the sequence.

    Attributes:
        positions: Positions, (T,) or (B, T).
        visible: Which keys a position sees, beside the causal order. None if it sees all.
        bias_BHTS: A bias of all scores, or None.
    """

    positions: jax.Array
    visible: Visible | None
    bias_BHTS: jax.Array | None = None


# (block, q_BTHK, k_BTJK, v_BTJK) -> h_BTHK: what attention does with the queries, keys and values of a block
Attend = Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]


def forward(
    config: ModelConfig,
    params: Params,
    inputs: Inputs | jax.Array,
    hooks: Hooks = NO_HOOKS,
    key: jax.Array | None = None,
) -> jax.Array:
    """Compute the output of a model, in float32.

    Args:
        config: The shape of the model.
        params: Its weights, by path.
        inputs: Token ids (B, T), or `Inputs` with segments, positions and token types.
        hooks: What an adaptation method changes in the pass.
        key: Key of the method's dropout. None drops nothing.

    Returns:
        For a language model, next-token logits (B, T, V). For a classifier, logits (B, C), read at the first
        token by an encoder and at the last token that is not padding by a decoder. For an encoder without a
        head, hidden states (B, T, D).
    """
    inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
    x_BTD = encode(config, params, inputs, hooks, key)
    if config.n_classes is not None:
        return _classify(Pass(config, hooks, key), params, inputs, x_BTD).astype(jnp.float32)
    if not config.has_lm_head:
        return x_BTD.astype(jnp.float32)
    return read_head(config, params, x_BTD, hooks, key)


def encode(
    config: ModelConfig, params: Params, inputs: Inputs, hooks: Hooks, key: jax.Array | None
) -> jax.Array:
    """Return the hidden states (B, T, D) that the head reads, after the final norm.

    Raises:
        LoraJaxError: The tokens do not fit into the model's context.
    """
    T = inputs.tokens_BT.shape[1]
    if config.context < T + hooks.n_before:
        before = f" and {hooks.n_before} positions before them" if hooks.n_before else ""
        raise LoraJaxError(
            f"got {T} tokens{before}, the model's context is {config.context}: shorten the sequence."
        )
    this = Pass(config, hooks, key)
    x_BTD, layout = embed(this, params, inputs)
    if config.positions == "t5":
        k_positions = find_key_positions(layout.positions, T + hooks.n_before)
        bias_BHTS = score_buckets(config, params["relative_bias"], layout.positions, k_positions)
        layout = layout._replace(bias_BHTS=bias_BHTS)
    outside = {path: w for path, w in params.items() if inside_block(path) is None}
    n_lower = 0
    for stack in STACKS:
        stacked = {path.removeprefix(stack): w for path, w in params.items() if path.startswith(stack)}
        if stacked:
            x_BTD = _run_stack(this, stacked, outside, x_BTD, layout, n_lower)
            n_lower += len(stacked["attn/q"])
    x_BTD = x_BTD[:, x_BTD.shape[1] - T :]
    return finish(config, params, x_BTD)


def finish(config: ModelConfig, params: Params, x_BTD: jax.Array) -> jax.Array:
    """Return what the head reads of the last block's output. With pre-norm, that is its final norm."""
    if config.norm_placement == "post":
        return x_BTD
    return _multiply(readout_multiplier(config), _normalise(config, params, "final_norm", x_BTD))


def embed(this: Pass, params: Params, inputs: Inputs) -> tuple[jax.Array, Layout]:
    """Embed the tokens, and add positions, token types, and what a prompt puts in front.

    Returns:
        The embeddings (B, n_prompt + T, D), and the layout of the sequence.
    """
    config, hooks = this.config, this.hooks
    dtype, n_before = compute_dtype(config), hooks.n_before
    tokens_BT, segments_BT, positions_BT, types_BT = inputs
    x_BTD = look_up(params["embed/tokens"], tokens_BT).astype(dtype)
    if hooks.embed is not None:
        x_BTD = hooks.embed(HookPoint("embed", params, key=fold_path(this.key, "embed")), tokens_BT, x_BTD)
    n_prompt = (
        x_BTD.shape[1] - tokens_BT.shape[1]
    )  # positions in front that are embeddings; the others are keys
    positions = jnp.arange(tokens_BT.shape[1]) if positions_BT is None else positions_BT
    positions = positions + n_before
    if n_prompt:
        lead = [(0, 0)] * (positions.ndim - 1) + [(n_prompt, 0)]
        in_front = jnp.arange(n_before - n_prompt, n_before)
        positions = jnp.pad(positions, lead).at[..., :n_prompt].set(in_front)
        pad = ((0, 0), (n_prompt, 0))
        segments_BT = None if segments_BT is None else jnp.pad(segments_BT, pad, constant_values=SEEN_BY_ALL)
        types_BT = None if types_BT is None else jnp.pad(types_BT, pad)
    if config.positions == "learned":
        table = params["embed/positions"]
        # If the positions are 0, 1, 2, ..., take a slice: its gradient needs no scatter.
        is_counted = positions_BT is None and n_before == n_prompt
        x_BTD = x_BTD + (table[: positions.shape[0]] if is_counted else table[positions]).astype(dtype)
    if config.n_token_types:
        types = 0 if types_BT is None else types_BT
        x_BTD = x_BTD + params["embed/types"][types].astype(dtype)
    if config.norm_placement == "post":
        x_BTD = _normalise(config, params, "embed/norm", x_BTD)
    if segments_BT is None:
        return x_BTD, Layout(positions, None)
    pairs_BTT = see_segments(segments_BT, SEEN_BY_ALL)
    return x_BTD, Layout(positions, Visible(pairs_BTT, None if n_prompt else segments_BT))


def _run_stack(
    this: Pass, stacked: Params, outside: Params, x_BTD: jax.Array, layout: Layout, n_lower: int
) -> jax.Array:
    """Apply a stack of blocks.

    n_lower blocks lie below it. So the keys of dropout count on from there.
    """
    n_layers, key = len(stacked["attn/q"]), this.key
    keys = (
        None
        if key is None
        else jax.vmap(lambda y: jax.random.fold_in(key, y))(n_lower + jnp.arange(n_layers))
    )

    def step(x: jax.Array, turn: tuple[Params, jax.Array | None]) -> tuple[jax.Array, None]:
        block, block_key = turn
        block = gather_weights(this.config, block, x.dtype)
        reach = block if this.hooks is NO_HOOKS else {**outside, **block}
        return apply_block(replace(this, key=block_key), reach, hold(x, BATCH_AXES), layout), None

    if this.config.remat in ("none", "fit"):  # pretraining has replaced "fit" by a policy
        unroll = n_layers if n_layers <= UNROLL else 1
        return jax.lax.scan(step, x_BTD, (stacked, keys), unroll=unroll)[0]
    # This is always a loop. In plain code XLA's CPU backend recognises the second computation as the first
    # one, whatever the barriers, and keeps what it should drop.
    step = jax.checkpoint(step, policy=REMAT[this.config.remat], prevent_cse=False)
    return jax.lax.scan(step, x_BTD, (stacked, keys))[0]


def apply_block(
    this: Pass,
    block: Params,
    x_BTD: jax.Array,
    layout: Layout | None = None,
    attend_to: Attend | None = None,
) -> jax.Array:
    """Apply one block.

    With pre-norm it is x + attention(norm(x)), then x + mlp(norm(x)). With post-norm the sums are normalised.

    Args:
        this: The pass.
        block: The weights of the block, by their path in it.
        x_BTD: The residual stream.
        layout: Positions and padding. None for positions 0, 1, 2, ... without padding.
        attend_to: Replaces attention to the sequence itself. model/cache.py attends to earlier tokens with
            it.
    """
    config, layout = this.config, layout or Layout(jnp.arange(x_BTD.shape[1]), None)

    def attention(x_BTD: jax.Array) -> jax.Array:
        return _sublayer(this, block, "attn", x_BTD, _attention(this, block, x_BTD, layout, attend_to))

    def mlp(x_BTD: jax.Array) -> jax.Array:
        return _sublayer(this, block, "mlp", x_BTD, _mlp(this, block, x_BTD))

    if config.norm_placement == "post":
        x_BTD = _normalise(config, block, "attn_norm", x_BTD + attention(x_BTD))
        return _normalise(config, block, "mlp_norm", x_BTD + mlp(x_BTD))
    if config.parallel_residual:
        h_BTD = _normalise(config, block, "attn_norm", x_BTD)
        mlp_BTD = h_BTD if config.shared_norm else _normalise(config, block, "mlp_norm", x_BTD)
        return x_BTD + attention(h_BTD) + mlp(mlp_BTD)
    x_BTD = x_BTD + attention(_normalise(config, block, "attn_norm", x_BTD))
    return x_BTD + mlp(_normalise(config, block, "mlp_norm", x_BTD))


def _sublayer(this: Pass, block: Params, path: str, x_BTD: jax.Array, h_BTD: jax.Array) -> jax.Array:
    if this.hooks.sublayer is not None:
        h_BTD = this.hooks.sublayer(HookPoint(path, block, key=fold_path(this.key, path)), x_BTD, h_BTD)
    return _multiply(residual_multiplier(this.config), h_BTD)


def _multiply(multiplier: float, x: jax.Array) -> jax.Array:
    """Multiply by a factor of the parametrisation. A factor of 1 leaves the program as it is."""
    return x if multiplier == 1.0 else x * multiplier


def _attention(
    this: Pass, block: Params, x_BTD: jax.Array, layout: Layout, attend_to: Attend | None
) -> jax.Array:
    config, hooks = this.config, this.hooks
    q_BTHK, k_BTJK, v_BTJK = (_affine(this, block, f"attn/{name}", x_BTD) for name in "qkv")
    if config.qk_norm:
        q_BTHK = _normalise(config, block, "attn/q_norm", q_BTHK)
        k_BTJK = _normalise(config, block, "attn/k_norm", k_BTJK)
    if config.positions == "rope":
        q_BTHK, k_BTJK = (rope(config, heads, layout.positions) for heads in (q_BTHK, k_BTJK))
    if hooks.key_values is not None:
        k_BTJK, v_BTJK = hooks.key_values(HookPoint("attn", block), k_BTJK, v_BTJK)
    if attend_to is not None:
        h_BTHK = attend_to(block, q_BTHK, k_BTJK, v_BTJK)
    else:
        bias_BHTS = layout.bias_BHTS
        if config.positions == "transformer_xl":
            k_positions = find_key_positions(layout.positions, k_BTJK.shape[1])
            q_BTHK, bias_BHTS = relate(config, block, q_BTHK, layout.positions, k_positions)
        h_BTHK = attend(
            q_BTHK, k_BTJK, v_BTJK, causal=config.causal, visible=layout.visible, bias_BHTS=bias_BHTS
        )
    return _affine(this, block, "attn/o", h_BTHK, n_contract=2)


def _mlp(this: Pass, block: Params, x_BTD: jax.Array) -> jax.Array:
    up_BTF = _affine(this, block, "mlp/up", x_BTD)
    if this.config.is_gated:
        h_BTF = GATED_ACTIVATIONS[this.config.mlp](_affine(this, block, "mlp/gate", x_BTD), up_BTF)
    else:
        h_BTF = ACTIVATIONS[this.config.mlp](up_BTF)
    return _affine(this, block, "mlp/down", h_BTF)


def _classify(this: Pass, params: Params, inputs: Inputs, x_BTD: jax.Array) -> jax.Array:
    if not this.config.causal:
        x_BD = jnp.tanh(_affine(this, params, "pooler", x_BTD[:, 0]))
        return _affine(this, params, "classifier", x_BD)
    B, T = inputs.tokens_BT.shape
    last_B = jnp.full(B, T - 1)
    if inputs.segments_BT is not None:
        last_B = jnp.where(inputs.segments_BT != 0, jnp.arange(T), 0).max(axis=1)
    return _affine(this, params, "classifier", x_BTD[jnp.arange(B), last_B])


def read_head(
    config: ModelConfig,
    params: Params,
    x_BTD: jax.Array,
    hooks: Hooks = NO_HOOKS,
    key: jax.Array | None = None,
) -> jax.Array:
    """Return the next-token logits (B, T, V) in float32 from hidden states (B, T, D)."""
    params = gather_weights(config, params, x_BTD.dtype)
    if config.tied_head:
        params = {**params, "head": params["embed/tokens"].T}
    return _affine(Pass(config, hooks, key), params, "head", x_BTD).astype(jnp.float32)


def _affine(this: Pass, weights: Params, path: str, x: jax.Array, n_contract: int = 1) -> jax.Array:
    def apply(x: jax.Array) -> jax.Array:
        y = linear(x, weights[path], n_contract)
        bias = weights.get(f"{path}_bias")
        return y if bias is None else y + bias.astype(y.dtype)

    if this.hooks.linear is None:
        return apply(x)
    return this.hooks.linear(HookPoint(path, weights, n_contract, fold_path(this.key, path)), x, apply)


def _normalise(config: ModelConfig, params: Params, path: str, x_BTD: jax.Array) -> jax.Array:
    scale = params[f"{path}/scale"]
    if config.norm == "rmsnorm":
        return rmsnorm(x_BTD, scale, config.norm_eps)
    return layernorm(x_BTD, scale, params.get(f"{path}/bias"), config.norm_eps)


def compute_dtype(config: ModelConfig) -> jnp.dtype:
    """Return the dtype of activations. "auto" is float32 on a CPU and bfloat16 elsewhere."""
    if config.compute_dtype == "auto":
        return jnp.dtype(jnp.float32 if on_cpu() else jnp.bfloat16)
    return jnp.dtype(config.compute_dtype)
