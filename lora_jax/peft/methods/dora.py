"""DoRA: W' = m (W + s A B) / ||W + s A B||, magnitude and direction (Liu et al. 2024, 2402.09353)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.model.hooks import Apply, HookPoint, Hooks
from lora_jax.model.layers import linear
from lora_jax.params import Params, Spec, Specs, init
from lora_jax.peft.low_rank import apply_low_rank, column_norms, drop, multiply, split_axes, take_scale
from lora_jax.peft.low_rank_choice import LowRankChoice, LowRankPlan
from lora_jax.peft.method import Method, task_head


@dataclass(frozen=True, kw_only=True)
class DoRA(LowRankChoice):
    """LoRA with a trained magnitude m for every output of a matrix.

    The norm runs over the inputs of the matrix, and m starts as ||W||. So the model starts as the base, up to
    rounding. As in peft, the gradient treats the norm as a constant (section 4.3). Dropout acts on x in the
    update only.

    For each step and matrix with k inputs and d outputs it costs 2 k d r FLOPs more than LoRA (as much as r
    tokens cost in the matrix itself). It also reads W once more.

    Attributes:
        rank: The rank r, the inner width of A and B.
        alpha: Sets the scale s of the update: s = alpha / r, or alpha / sqrt(r) with `rslora`.
        targets: The matrices that get an update: short names ("q", "down", "embedding", "head"), groups
            ("attention", "mlp", "all") or globs on the path ("blocks/attn/[qv]").
        ranks: Pairs (target, rank) for targets with a rank of their own.
        alphas: Pairs (target, alpha) for targets with an alpha of their own.
        rslora: Whether to use rank-stabilised scaling (Kalajdzievski 2023, arXiv 2312.03732).
        dropout: Dropout on the input x of the update.
        top_layers: Adapt only this many blocks, from the top. None adapts all.

    Reference: Liu et al. 2024 (arXiv 2402.09353).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: A pattern names no target, or a matrix cannot have its rank.
        """
        plan = self.plan(model)
        magnitudes: Specs = {}
        for path in plan.scales:
            stack, _, outputs = split_axes(plan.base[path])
            magnitudes[f"{path}_dora_m"] = Spec((*stack, *outputs), mean=1.0)
        added = plan.factors | magnitudes
        return Method(
            specs=plan.base | added,
            trainable=frozenset(added) | task_head(plan.base),
            hooks=dora_hooks(plan.inner_scales, self.dropout),
            start=lambda base, seed: (base, _start(plan, base, seed)),
            merge=lambda params: _merge(plan, params),
            n_top=plan.n_top,
            scales=plan.inner_scales,
        )


def dora_hooks(scales: dict[str, float], dropout: float) -> Hooks:
    """Return the hooks that apply m (W + s A B) / ||W + s A B||.

    Args:
        scales: The scale s of each target, by its path in a block.
        dropout: Dropout on x, where it enters the update.
    """

    def change(point: HookPoint, y: jax.Array, update: jax.Array) -> jax.Array:
        """Return m (y + s update) / ||W + s A B|| plus the bias that y holds."""
        weights, path, scale = point.weights, point.path, take_scale(point, scales, jnp.float32)
        w, a, b = (weights[path + name] for name in ("", "_lora_a", "_lora_b"))
        norms = jax.lax.stop_gradient(column_norms(w, a, b, scale, point.n_contract))
        gain = weights[f"{path}_dora_m"] / norms
        bias = weights.get(f"{path}_bias")
        plain = y if bias is None else y - bias.astype(y.dtype)
        # compute gain - 1 in float32: bfloat16 would lose the changes of m that training makes
        return y + (gain - 1).astype(y.dtype) * plain + (scale * gain).astype(y.dtype) * update

    def adapt(point: HookPoint, x: jax.Array, apply: Apply) -> jax.Array:
        if point.path not in scales or f"{point.path}_dora_m" not in point.weights:
            return apply(x)
        a, b = point.weights[f"{point.path}_lora_a"], point.weights[f"{point.path}_lora_b"]
        update = apply_low_rank(drop(x, dropout, point.key), a, b, point.n_contract)
        return change(point, apply(x), update)

    def embed(point: HookPoint, tokens_BT: jax.Array, x_BTD: jax.Array) -> jax.Array:
        rows_BTR = point.weights["embed/tokens_lora_a"][tokens_BT].astype(x_BTD.dtype)
        update = linear(rows_BTR, point.weights["embed/tokens_lora_b"])
        return change(point._replace(path="embed/tokens"), x_BTD, update)

    return Hooks(linear=adapt, embed=embed if "embed/tokens" in scales else None)


def _start(plan: LowRankPlan, base: Params, seed: int) -> Params:
    added = init(plan.factors, seed)
    for path in plan.scales:
        stack, inputs, _ = split_axes(plan.base[path])
        axes = tuple(range(len(stack), len(stack) + len(inputs)))
        added[f"{path}_dora_m"] = jnp.sqrt(jnp.square(base[path].astype(jnp.float32)).sum(axes))
    return added


def _merge(plan: LowRankPlan, params: Params) -> Params:
    merged = {path: params[path] for path in plan.base}
    for path, scale in plan.scales.items():
        spec = plan.base[path]
        stack, inputs, _ = split_axes(spec)
        axes = tuple(range(len(stack), len(stack) + len(inputs)))
        whole = params[path] + scale * multiply(params[f"{path}_lora_a"], params[f"{path}_lora_b"], spec)
        norms = jnp.sqrt(jnp.square(whole).sum(axes, keepdims=True))
        merged[path] = whole * (jnp.expand_dims(params[f"{path}_dora_m"], axes) / norms)
    return merged


METHODS = (DoRA,)
