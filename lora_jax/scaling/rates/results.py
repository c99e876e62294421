"""What `lora-jax transfer` finds, as types. Every field is the key of the same name in transfer.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate

KIND = "transfer"
FORMAT = 1
Why = Literal["too few rates", "at the edge", "beside divergence", "no bowl", "lost in noise"]
Movement = Literal["does not move", "moves", "not told apart"]


@dataclass(frozen=True)
class Refusal:
    """Why a grid of rates has no best rate.

    Attributes:
        kind: The reason.
        words: The reason, and what would help.
    """

    kind: Why
    words: str


@dataclass(frozen=True)
class Parabola:
    """ln loss = height + slope x + curvature x^2, where x = ln(rate / centre).

    Attributes:
        low: The lowest rate that it was fitted to.
        high: The highest rate that it was fitted to.
        n_rates: How many rates it was fitted to.
    """

    centre: float
    height: float
    slope: float
    curvature: float
    low: float
    high: float
    n_rates: int


@dataclass(frozen=True)
class BestRate:
    """The learning rate at which the loss of one size is least.

    Attributes:
        rate: The rate and its 95 % interval. Its `se` is that of ln rate.
        se_of_noise: The part of `se` that comes from the scatter of the losses.
        near: The best rate by the rates nearest to it alone, None if they show no bowl. If it differs by
            more than noise explains, the curve is no parabola, and the interval is wider for it.
        all_rates: The best rate by every rate, None if they show no bowl. It is for comparison only.
        parabola: The curve.
    """

    rate: Estimate
    se_of_noise: float
    near: float | None
    all_rates: float | None
    parabola: Parabola


@dataclass(frozen=True)
class Bowl:
    """The runs of one size at several learning rates.

    Attributes:
        sizes: The size by axis ("width", "depth", "batch", "tokens"; "N" of a table without widths).
        n_params: N, without embeddings if we trained the models. None if it is not known.
        rates: The rates that were tried.
        losses: The mean loss over seeds at each rate. None if every run diverged.
        n_seeds: The most runs of a rate.
        n_diverged: Runs that diverged. They have no loss and count nowhere.
        best: The best rate. None if there is none.
        refusal: Why there is none. None if there is one.
    """

    sizes: Mapping[str, float]
    n_params: float | None
    rates: tuple[float, ...]
    losses: tuple[float | None, ...]
    n_seeds: int
    n_diverged: int
    best: BestRate | None
    refusal: Refusal | None


@dataclass(frozen=True)
class Drift:
    """How the best rate moves along one axis: ln rate* = ... + slope ln(axis).

    Attributes:
        axis: The axis.
        along: Axes that change together with this one, so that nothing tells them apart.
        slope: The slope with its 95 % interval. With two sizes it says their ratio and no more. None with one
            size.
        n_sizes: Sizes on the axis.
        n_bowls: Grids with a best rate behind the slope.
        low: The least size.
        high: The greatest size.
        scatter: How far the best rates lie from the line: chi^2 over its degrees of freedom. It is about 1 if
            the errors explain it.
        widened: Whether the interval is wider because they do not.
        verdict: Whether the best rate moves. None without a slope.
        missing: What is missing for a slope, in words. None if nothing is.
    """

    axis: str
    along: tuple[str, ...]
    slope: Estimate | None
    n_sizes: int
    n_bowls: int
    low: float
    high: float
    scatter: float | None
    widened: bool
    verdict: Movement | None
    missing: str | None


@dataclass(frozen=True)
class RateRule:
    """The rule for the learning rate that the runs support.

    Attributes:
        code: A fragment of a config file. None if the runs support no rule.
        learning_rate: The rate in it.
        words: One sentence for each thing that the rule rests on, or that the runs cannot tell.
    """

    code: str | None
    learning_rate: Estimate | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Grids that differ in size and rate alone.

    Attributes:
        label: What sets the series apart from the others, in words.
        settings: Every setting that differs between the series.
        follows: Settings that change with the size, such as the number of heads.
        noise: Standard deviation of ln loss around the parabolas, over all sizes. None without a parabola.
        degrees_of_freedom: Degrees of freedom of the noise.
    """

    label: str
    settings: Mapping[str, str]
    follows: tuple[str, ...]
    noise: float | None
    degrees_of_freedom: int
    bowls: tuple[Bowl, ...]
    drifts: tuple[Drift, ...]
    rule: RateRule


@dataclass(frozen=True)
class TransferReport:
    """The best learning rate of every size, and how it moves: transfer.json.

    Attributes:
        rate_name: What "rate" is: the field that a user sets, or a column.
        loss_name: What "loss" is.
        tolerance: A slope within plus and minus this counts as none.
        left_out: Runs that were left out, by reason.
    """

    source: str
    command: str
    rate_name: str
    loss_name: str
    tolerance: float
    n_runs: int
    left_out: Mapping[str, int]
    series: tuple[Series, ...]
    warnings: tuple[str, ...]
    kind: Literal["transfer"]
    format: int
