"""Lattices: grids of model sizes and D/N ratios, scaled to a budget. A plan chooses among these designs.

Sizes and ratios are spaced evenly in their logarithms. The most expensive corner has the largest sizes with
most tokens per parameter. It is cut off until no run takes more than a given share of the budget. What is
left looks like published sweeps, and four numbers describe it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.planning.forecast import FlopsPerToken, six_n

FEWEST_SIZES, FEWEST_RATIOS = 4, 3
SIZE_SPANS = (10.0, 30.0, 100.0, 300.0)  # largest to smallest N: beyond, one law is much to ask
NARROWEST_RATIOS = 8.0  # largest to smallest D/N: on 2-fold ones the first-order interval is 40 % too short
SMALLEST_SIZE = 1e4  # parameters; two layers of width 16 have 6,000
SHARES = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6)  # of a budget, the most that one run may take


@dataclass(frozen=True)
class Limits:
    """What a design must keep to.

    Attributes:
        budget_flops: Training FLOPs for all runs together.
        n_range: Smallest and largest N.
        ratio_range: Smallest and largest D/N.
        min_runs: Smallest number of runs.
        max_runs: Largest number of runs.
        max_share: Largest share of the budget for one run.
        max_tokens: Largest number of tokens of one run, for example of a corpus that is read once.
        share_trunks: Whether runs of one size branch off one warmup-stable-decay run and pay only for their
            own cooldown (Haegele et al. 2024, arXiv 2405.18392).
        cooldown_fraction: Share of a run's tokens that its cooldown takes.
        flops_per_token: Maps parameters (n,) to training FLOPs per token (n,).
    """

    budget_flops: float
    n_range: tuple[float, float]
    ratio_range: tuple[float, float]
    min_runs: int
    max_runs: int
    max_share: float = 0.5
    max_tokens: float = np.inf
    share_trunks: bool = False
    cooldown_fraction: float = 0.2
    flops_per_token: FlopsPerToken = six_n

    def __post_init__(self) -> None:
        low, high = self.ratio_range
        if not (np.isfinite(self.budget_flops) and self.budget_flops > 0):
            raise LoraJaxError(f"The budget is {self.budget_flops} FLOPs: give a number above 0.")
        if not 0 < low < high or high / low < NARROWEST_RATIOS * (1 - 1e-9):
            raise LoraJaxError(
                f"D/N may vary from {low:g} to {high:g}: let it vary {NARROWEST_RATIOS:g}-fold or more, or N"
                " and D cannot be told apart."
            )
        if not 0 < self.n_range[0] < self.n_range[1]:
            raise LoraJaxError(f"Sizes may vary from {self.n_range[0]:g} to {self.n_range[1]:g}: widen that.")
        if self.max_runs < self.min_runs:
            raise LoraJaxError(
                f"A plan of {self.max_runs} runs was asked for, {self.min_runs} is the fewest that leaves an"
                " interval: allow more."
            )
        if not 0 < self.max_share <= 1 or not 0 < self.cooldown_fraction <= 1:
            raise LoraJaxError(
                f"max_share is {self.max_share:g} and cooldown_fraction {self.cooldown_fraction:g}: both are"
                " shares, between 0 and 1."
            )


@dataclass(frozen=True)
class Lattice:
    """The runs of a lattice.

    Attributes:
        n_params: N of each run, (n,).
        n_tokens: D of each run, (n,).
        n_sizes: Sizes of the whole lattice, before its corner was cut.
        n_ratios: D/N ratios of the whole lattice.
    """

    n_params: Array
    n_tokens: Array
    n_sizes: int
    n_ratios: int

    @property
    def words(self) -> str:
        """Return a description in words."""
        whole = self.n_sizes * self.n_ratios
        cut = f", less the {whole - len(self.n_params)} dearest" if whole > len(self.n_params) else ""
        ratios, span = self.n_tokens / self.n_params, self.n_params.max() / self.n_params.min()
        return (
            f"{self.n_sizes} sizes over {span:.0f}-fold x {self.n_ratios} D/N ratios from"
            f" {ratios.min():.3g} to {ratios.max():.3g}{cut}"
        )


def paid_flops(limits: Limits, n_params: Array, n_tokens: Array) -> Array:
    """Return what each run, (n,), adds to the bill: its FLOPs less those it shares with a shorter run."""
    per_token = limits.flops_per_token(n_params)
    paid = per_token * n_tokens
    if not limits.share_trunks:
        return paid
    for size in np.unique(n_params):
        rows = np.flatnonzero(n_params == size)
        rows = rows[np.argsort(n_tokens[rows], kind="stable")]
        trunk = (1 - limits.cooldown_fraction) * n_tokens[rows[:-1]]
        paid[rows[1:]] -= per_token[rows[1:]] * trunk
    return paid


def lattices(limits: Limits) -> Iterator[Lattice]:
    """Yield the lattices that spend the budget, or as much of it as `n_range` and `max_tokens` allow."""
    low, high = limits.ratio_range
    spans = NARROWEST_RATIOS * 2.0 ** np.arange(np.floor(np.log2(high / low / NARROWEST_RATIOS) + 1e-9) + 1)
    ratio_ends = [
        (start, start * span)
        for span in spans
        for start in np.unique(np.geomspace(low, max(high / span, low), 5).round(9))
    ]
    widest = limits.n_range[1] / limits.n_range[0]
    size_spans = [span for span in SIZE_SPANS if span <= widest] or [widest]
    shares = [share for share in SHARES if share <= limits.max_share] or [limits.max_share]
    for k, m in product(range(FEWEST_SIZES, 11), range(FEWEST_RATIOS, 9)):
        if not limits.min_runs <= k * m <= 1.5 * limits.max_runs:
            continue
        seen: set[tuple[object, ...]] = set()
        for size_span, ends, share in product(size_spans, ratio_ends, shares):
            cut = _cut(k, m, size_span, ends, share)
            if cut is None or not limits.min_runs <= len(cut[0]) <= limits.max_runs:
                continue
            if (size_span, ends, len(cut[0])) in seen:  # a larger share that cuts no less
                continue
            seen.add((size_span, ends, len(cut[0])))
            scaled = _scale(limits, *cut)
            if scaled is not None:
                yield Lattice(*scaled, k, m)


def _cut(
    k: int, m: int, size_span: float, ends: tuple[float, float], share: float
) -> tuple[Array, Array] | None:
    """Return relative sizes, ratios (n,), the dearest cut off until none takes more than `share` of 6ND."""
    sizes, ratios = np.geomspace(1 / size_span, 1, k), np.geomspace(*ends, m)
    size, ratio = (x.ravel() for x in np.meshgrid(sizes, ratios, indexing="ij"))
    cost = size**2 * ratio
    order = np.argsort(cost, kind="stable")
    fits = np.flatnonzero(cost[order] <= share * np.cumsum(cost[order]))
    if not len(fits):
        return None
    kept = np.sort(order[: fits[-1] + 1])
    if len(np.unique(size[kept])) < k or len(np.unique(ratio[kept])) < m:
        return None  # it is a smaller lattice, seen under its own name
    return size[kept], ratio[kept]


def _scale(limits: Limits, size: Array, ratio: Array) -> tuple[Array, Array] | None:
    """Return N, D (n,) of relative sizes and ratios, the largest N as the budget has it; None: none fits."""
    ln_top = 0.5 * np.log(limits.budget_flops / (6 * (size**2 * ratio).sum()))
    for _ in range(60):  # by Newton's rule for a cost that goes as N^2, which 6ND does exactly
        n_params = np.exp(ln_top) * size
        excess = np.log(paid_flops(limits, n_params, ratio * n_params).sum() / limits.budget_flops)
        ln_top -= 0.5 * excess
        if abs(excess) < 1e-9:
            break
    else:
        return None
    tokens = np.log(limits.max_tokens / (ratio * size).max())
    top = np.exp(min(ln_top, np.log(limits.n_range[1]), tokens))
    n_params = np.round(top * size)
    if n_params.min() < limits.n_range[0] * (1 - 1e-9):
        return None
    return n_params, np.minimum(np.round(ratio * n_params), limits.max_tokens)
