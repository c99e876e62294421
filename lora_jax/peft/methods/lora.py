"""LoRA: y = W x + (alpha / r) B A x, with A random and B zero (Hu et al. 2021, arXiv 2106.09685)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax

from lora_jax.config import ModelConfig
from lora_jax.model.hooks import Apply, HookPoint, Hooks
from lora_jax.model.layers import linear
from lora_jax.params import Params, Spec, Specs
from lora_jax.peft.low_rank import apply_low_rank, drop, multiply, take_scale
from lora_jax.peft.low_rank_choice import LowRankChoice
from lora_jax.peft.method import Method, task_head
from lora_jax.ranges import Factor


@dataclass(frozen=True, kw_only=True)
class LoRA(LowRankChoice):
    """Low-rank updates W + s A B of chosen matrices.

    B starts at zero, so the model starts as the base. A starts with std 1/sqrt(k), where k is the number of
    inputs of the matrix ("normal"), or uniform between -1/sqrt(k) and 1/sqrt(k).

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
        init: Distribution of the initial A.
        init_scale: Factor on the initial A.
        rate_ratio: Learning rate of B divided by that of A (LoRA+).

    Reference: Hu et al. 2021 (arXiv 2106.09685); Hayou et al. 2024 (arXiv 2402.12354) for LoRA+.
    """

    AS_DATA: ClassVar[dict[str, Any]] = {**LowRankChoice.AS_DATA, "init": "normal", "init_scale": 1.0}

    init: Literal["normal", "uniform"] = "normal"
    init_scale: Factor = 1.0
    rate_ratio: Factor = 1.0

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: A pattern names no target, or a matrix cannot have its rank.
        """
        std = self.init_scale * (3**-0.5 if self.init == "uniform" else 1.0)
        plan = self.plan(model, Spec((), std=std, noise=self.init))
        base, factors, scales, n_top = plan
        return Method(
            specs=base | factors,
            trainable=frozenset(factors) | task_head(base),
            hooks=low_rank_hooks(plan.inner_scales, self.dropout),
            merge=lambda params: merge_low_rank(params, base, scales),
            n_top=n_top,
            rates={path: self.rate_ratio for path in factors if path.endswith("_lora_b")},
            scales=plan.inner_scales,
        )


def low_rank_hooks(scales: dict[str, float], dropout: float = 0.0) -> Hooks:
    """Return the hooks that add s (x A) B wherever there are factors.

    Args:
        scales: The scale s of each target, by its path in a block.
        dropout: Dropout on x, where it enters the update.
    """

    def adapt(point: HookPoint, x: jax.Array, apply: Apply) -> jax.Array:
        a = point.weights.get(f"{point.path}_lora_a")
        if (
            a is None or point.path not in scales
        ):  # lower blocks have no factors, or they belong to another method
            return apply(x)
        b = point.weights[f"{point.path}_lora_b"]
        update = apply_low_rank(drop(x, dropout, point.key), a, b, point.n_contract)
        return apply(x) + take_scale(point, scales, update.dtype) * update

    def embed(point: HookPoint, tokens_BT: jax.Array, x_BTD: jax.Array) -> jax.Array:
        rows_BTR = point.weights["embed/tokens_lora_a"][tokens_BT].astype(x_BTD.dtype)
        update = linear(rows_BTR, point.weights["embed/tokens_lora_b"])
        return x_BTD + take_scale(point._replace(path="embed/tokens"), scales, update.dtype) * update

    return Hooks(linear=adapt, embed=embed if "embed/tokens" in scales else None)


def merge_low_rank(params: Params, base: Specs, scales: dict[str, float]) -> Params:
    """Return W + s A B for every target, and the other weights of the base as they are."""
    merged = {path: params[path] for path in base}
    for path, scale in scales.items():
        update = multiply(params[f"{path}_lora_a"], params[f"{path}_lora_b"], base[path])
        merged[path] = merged[path] + scale * update
    return merged


METHODS = (LoRA,)
