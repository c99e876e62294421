"""What `lora-jax surface` finds, as types. Every field is the key of the same name in surface.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate

KIND = "surface"
FORMAT = 1
Why = Literal["too few runs", "no bowl", "lost in noise", "outside the runs", "beside divergence"]
Pair = tuple[float, float]


@dataclass(frozen=True)
class SurfaceRefusal:
    """Why a size has no best pair of rate and batch size.

    Attributes:
        kind: The reason.
        words: The reason, and what would help.
    """

    kind: Why
    words: str


@dataclass(frozen=True)
class Shape:
    """ln loss = height + gradient x + x' hessian x / 2, where x = (ln(rate / centre), ln(batch / centre)).

    Attributes:
        centre: Rate and batch size at x = 0.
        gradient: Derivatives by ln rate and by ln batch.
        hessian: Second derivatives: by ln rate twice, by both, by ln batch twice.
        rates: The least and the greatest rate that it was fitted to.
        batches: The least and the greatest batch size that it was fitted to.
        n_points: How many pairs of rate and batch size it was fitted to.
    """

    centre: Pair
    height: float
    gradient: Pair
    hessian: tuple[float, float, float]
    rates: Pair
    batches: Pair
    n_points: int


@dataclass(frozen=True)
class FlatRange:
    """The range of rates, or of batch sizes, over which the loss stays within a share of the least.

    Attributes:
        alone: The range if the other one is held at its best.
        together: The range if the other one is the best for each.
        beyond: Whether a range reaches beyond the runs, where nothing is known.
    """

    alone: Pair
    together: Pair
    beyond: bool


@dataclass(frozen=True)
class BestPair:
    """The rate and the batch size at which the loss of one size is least.

    Attributes:
        rate: The rate with its 95 % interval. Its `se` is that of the logarithm.
        batch: The batch size, likewise.
        se_of_noise: The part of each `se` that comes from the scatter of the losses.
        se_alone: Each `se` without what all sizes share (`SurfaceSeries.skew`).
        correlation: Correlation of ln rate and ln batch without what all sizes share, between -1 and 1.
        loss: The loss there, by the surface.
        near: The pair by the nearest runs alone. None if they show no bowl or are all the runs. If it differs
            by more than noise explains, the surface is no quadratic, and the intervals are wider for it.
        ridge: The exponent of the batch size in the best rate of each batch size.
        flat_rate: How far the rate may change at little cost.
        flat_batch: How far the batch size may change at little cost.
        shape: The surface.
    """

    rate: Estimate
    batch: Estimate
    se_of_noise: Pair
    se_alone: Pair
    correlation: float
    loss: float
    near: Pair | None
    ridge: Estimate
    flat_rate: FlatRange
    flat_batch: FlatRange
    shape: Shape


@dataclass(frozen=True)
class Surface:
    """The runs of one size at several rates and batch sizes.

    Attributes:
        sizes: The size by axis ("width", "depth", "tokens"; "N" of a table without widths).
        n_params: N. None if it is not known.
        n_tokens: D. None if it is not known.
        rates: The rate of each pair that was tried.
        batches: Its batch size.
        losses: Its mean loss over seeds. None if every run diverged.
        n_runs: Number of runs.
        n_diverged: Runs that diverged. They have no loss and count nowhere.
        best: The best pair. None if there is none.
        refusal: Why there is none. None if there is one.
    """

    sizes: Mapping[str, float]
    n_params: float | None
    n_tokens: float | None
    rates: tuple[float, ...]
    batches: tuple[float, ...]
    losses: tuple[float | None, ...]
    n_runs: int
    n_diverged: int
    best: BestPair | None
    refusal: SurfaceRefusal | None


@dataclass(frozen=True)
class PowerOfBest:
    """The best rate, or the best batch size, as a power law of N and D.

    Attributes:
        at_reference: Its value at `PowerLaws.reference`. Its `se` is that of the logarithm.
        exponents: By letter, "N" and "D".
        scatter: How far the best ones lie from the law: chi^2 over its degrees of freedom. About 1 if the
            errors explain it.
        widened: Whether the intervals are wider because they do not.
        extra: The sd of ln by which sizes scatter of their own, 0 if the errors explain all.
    """

    at_reference: Estimate
    exponents: Mapping[str, Estimate]
    scatter: float
    widened: bool
    extra: float


@dataclass(frozen=True)
class PowerLaws:
    """The best pair as power laws of N and D, fitted together.

    Attributes:
        rate: The law of the best rate.
        batch: The law of the best batch size.
        letters: What they depend on.
        along: Letters that change together with one of these, so that nothing tells them apart.
        reference: The size at which `at_reference` holds, by letter.
        low: The least size behind them, by letter.
        high: The greatest size behind them, by letter.
        n_values: How many different sizes there are, by letter.
        n_surfaces: Surfaces with a best pair.
        covariance: Covariance of ln at_reference and the exponents, of rate and then of batch, (2k, 2k).
        widening: Half a 95 % interval over the standard error, for rate and for batch.
    """

    rate: PowerOfBest
    batch: PowerOfBest
    letters: tuple[str, ...]
    along: tuple[str, ...]
    reference: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    n_values: Mapping[str, int]
    n_surfaces: int
    covariance: tuple[tuple[float, ...], ...]
    widening: Pair


@dataclass(frozen=True)
class PredictedPair:
    """The best pair at a size, by the power laws.

    Attributes:
        at: The size, by letter.
        rate: The rate with its 95 % interval, which includes the scatter of sizes.
        batch: The batch size, likewise.
        outside: How far the size lies outside those of the runs, in words. None inside.
    """

    at: Mapping[str, float]
    rate: Estimate
    batch: Estimate
    outside: str | None


@dataclass(frozen=True)
class SurfaceSeries:
    """Sizes that differ in nothing else.

    Attributes:
        label: What sets the series apart from the others, in words.
        settings: Every setting that differs between the series.
        follows: Settings that change with size or batch, such as the number of heads.
        noise: Standard deviation of ln loss around the surfaces, over all sizes. None without a surface.
        degrees_of_freedom: Degrees of freedom of the noise.
        skew: The factors by which the nearest runs give another rate and batch size, over all sizes. None if
            no size shows it.
        is_skewed: Whether noise does not explain these, so that every interval is wider for it.
        surfaces: One for each size.
        ridge: The exponent of the batch size in the best rate of each batch size, over all sizes. None
            without a best pair.
        laws: The power laws of the best pairs. None if there are none.
        missing: What is missing for them, in words. None if nothing is.
        predictions: The best pairs at the sizes that were asked for.
    """

    label: str
    settings: Mapping[str, str]
    follows: tuple[str, ...]
    noise: float | None
    degrees_of_freedom: int
    skew: Pair | None
    is_skewed: bool
    surfaces: tuple[Surface, ...]
    ridge: Estimate | None
    laws: PowerLaws | None
    missing: str | None
    predictions: tuple[PredictedPair, ...]


@dataclass(frozen=True)
class SurfaceReport:
    """The best rate and batch size of every size, and how they move: surface.json.

    Attributes:
        rate_name: What "rate" is.
        batch_name: What "batch" is.
        loss_name: What "loss" is.
        flat: The share of the least loss that `FlatRange` allows.
        left_out: Runs that were left out, by reason.
    """

    source: str
    command: str
    rate_name: str
    batch_name: str
    loss_name: str
    flat: float
    n_runs: int
    left_out: Mapping[str, int]
    series: tuple[SurfaceSeries, ...]
    warnings: tuple[str, ...]
    kind: Literal["surface"]
    format: int
