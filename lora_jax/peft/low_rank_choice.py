"""Which matrices get a low-rank update, with which rank and scale. LoRA and related methods share this."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from lora_jax.config import ModelConfig
from lora_jax.model.declare import declare
from lora_jax.model.stacks import inside_block
from lora_jax.params import Spec, Specs
from lora_jax.peft.low_rank import factor_specs, sizes
from lora_jax.peft.targets import by_pattern, check_patterns, find_targets
from lora_jax.ranges import BelowOne, Factor, Layers, Rank, check_fields


class LowRankPlan(NamedTuple):
    """The low-rank updates of one model.

    Attributes:
        base: Specs of the base.
        factors: Specs of the factors, under PATH_lora_a and PATH_lora_b.
        scales: The scale s of every target, by its path.
        n_top: Number of blocks, from the top, in a stack of their own.
    """

    base: Specs
    factors: Specs
    scales: dict[str, float]
    n_top: int

    @property
    def inner_scales(self) -> dict[str, float]:
        """The scale s of every target by its path in its block, as a hook sees it."""
        return {inside_block(path) or path: scale for path, scale in self.scales.items()}


@dataclass(frozen=True, kw_only=True)
class LowRankChoice:
    """Fields of a method that adds s (x A) B to chosen matrices.

    `targets`, `ranks` and `alphas` name matrices by short name ("q", "down", "embedding", "head"), by group
    ("attention", "mlp", "all") or by a glob on the path ("blocks/attn/[qv]").

    Attributes:
        rank: The rank r, the inner width of A and B.
        alpha: The scale s is alpha / r, or alpha / sqrt(r) with `rslora`.
        targets: The matrices that get an update.
        ranks: Pairs (pattern, rank) for targets with a rank of their own.
        alphas: Pairs (pattern, alpha) for targets with an alpha of their own.
        rslora: Whether to use rank-stabilised scaling (Kalajdzievski 2023, arXiv 2312.03732).
        dropout: Dropout on x, where it enters the update.
        top_layers: Adapt only this many blocks, from the top. None adapts all.
    """

    AS_DATA: ClassVar[dict[str, Any]] = {"rank": 1, "alpha": 1.0, "ranks": (), "alphas": (), "rslora": False}

    rank: Rank = 8
    alpha: Factor = 16.0
    targets: tuple[str, ...] = ("q", "v")
    ranks: tuple[tuple[str, Rank], ...] = ()
    alphas: tuple[tuple[str, Factor], ...] = ()
    rslora: bool = False
    dropout: BelowOne = 0.0
    top_layers: Layers | None = None

    def __post_init__(self) -> None:
        check_fields(self, type(self).__name__)

    def scale(self, path: str) -> float:
        """Return the scale s of a target: alpha / r, or alpha / sqrt(r) with `rslora`."""
        rank, alpha = by_pattern(path, self.ranks, self.rank), by_pattern(path, self.alphas, self.alpha)
        return alpha / (rank**0.5 if self.rslora else rank)

    def plan(self, model: ModelConfig, a: Spec | None = None) -> LowRankPlan:
        """Return what is adapted in a model.

        Args:
            model: The shape of the base.
            a: Says how A starts. Its std is in units of 1/sqrt(k), where k is the number of inputs of the
                matrix. None is normal with std 1/sqrt(k).

        Raises:
            LoraJaxError: A pattern names no target, or a matrix cannot have its rank.
        """
        name = type(self).__name__
        n_top = self.top_layers or 0
        base = declare(model, n_top)
        targets = find_targets(base, self.targets, n_top)
        check_patterns(targets, [pattern for pattern, _ in self.ranks], f"{name}.ranks")
        check_patterns(targets, [pattern for pattern, _ in self.alphas], f"{name}.alphas")
        a = a or Spec((), std=1.0)
        factors: Specs = {}
        for path in targets:
            start = Spec((), std=a.std * sizes(base[path])[0] ** -0.5, noise=a.noise)
            rank = by_pattern(path, self.ranks, self.rank)
            pair = factor_specs(path, base[path], rank, start)
            factors[f"{path}_lora_a"], factors[f"{path}_lora_b"] = pair
        return LowRankPlan(base, factors, {path: self.scale(path) for path in targets}, n_top)
