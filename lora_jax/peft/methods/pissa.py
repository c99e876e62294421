"""PiSSA: LoRA that starts at W's largest singular values (Meng et al. 2024, arXiv 2404.02948)."""

from dataclasses import dataclass

import jax.numpy as jnp

from lora_jax.config import ModelConfig
from lora_jax.params import Params
from lora_jax.peft.low_rank import multiply, sizes, split_axes
from lora_jax.peft.low_rank_choice import LowRankChoice, LowRankPlan
from lora_jax.peft.method import Method, task_head
from lora_jax.peft.methods.lora import low_rank_hooks, merge_low_rank


@dataclass(frozen=True, kw_only=True)
class PiSSA(LowRankChoice):
    """LoRA that starts from the largest singular values of a matrix.

    It starts with A = U_r sqrt(S_r / s) and B = sqrt(S_r / s) V_r', and W becomes W - s A B (section 3). So
    the model starts as the base, up to the rounding of float32, or of the base's type if that is shorter,
    because the remainder is stored in it.

    The frozen weights are therefore not those of the base. `unmerge` takes the bytes of the base from the
    base itself.

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

    Reference: Meng et al. 2024 (arXiv 2404.02948).
    """

    def build(self, model: ModelConfig) -> Method:
        """Return the method for a model.

        Raises:
            LoraJaxError: A pattern names no target, or a matrix cannot have its rank.
        """
        plan = self.plan(model)
        return Method(
            specs=plan.base | plan.factors,
            trainable=frozenset(plan.factors) | task_head(plan.base),
            hooks=low_rank_hooks(plan.inner_scales, self.dropout),
            start=lambda base, seed: _start(plan, base),
            merge=lambda params: merge_low_rank(params, plan.base, plan.scales),
            n_top=plan.n_top,
            scales=plan.inner_scales,
        )


def _start(plan: LowRankPlan, base: Params) -> tuple[Params, Params]:
    base, added = dict(base), {}
    for path, scale in plan.scales.items():
        spec = plan.base[path]
        lead = tuple(n for _, n in split_axes(spec)[0])
        weight = base[path].astype(jnp.float32)
        a, b = plan.factors[f"{path}_lora_a"].shape, plan.factors[f"{path}_lora_b"].shape
        rank = a[-1]
        u, s, vh = jnp.linalg.svd(weight.reshape(*lead, *sizes(spec)), full_matrices=False)
        root = jnp.sqrt(s[..., :rank] / scale)
        added[f"{path}_lora_a"] = (u[..., :rank] * root[..., None, :]).reshape(a)
        added[f"{path}_lora_b"] = (root[..., :, None] * vh[..., :rank, :]).reshape(b)
        update = scale * multiply(added[f"{path}_lora_a"], added[f"{path}_lora_b"], spec)
        base[path] = (weight - update).astype(base[path].dtype)
    return base, added


METHODS = (PiSSA,)
