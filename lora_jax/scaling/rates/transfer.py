"""Does the learning rate transfer? The best rate of every size, how it moves, and the rule that follows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.head_widths import explain_wider_heads
from lora_jax.scaling.rates.bowls import RateLosses, find_all, mean_losses
from lora_jax.scaling.rates.drifts import find_drifts
from lora_jax.scaling.rates.grids import AXES, DEFAULT, RateRun, RunSeries, setting, size_of, sort_runs
from lora_jax.scaling.rates.results import FORMAT, BestRate, Bowl, Refusal, Series, TransferReport
from lora_jax.scaling.rates.rules import LEAST_SIZES, by_params, find_rule, is_relative

TOLERANCE = 0.1  # a power of the size that counts as none: a factor of 1.23 over sizes of 8 to 1
LEAST_RATES = 4


@dataclass(frozen=True)
class RateRuns:
    """Runs at several rates.

    Attributes:
        source: Where they come from, for messages.
        rate_name: What the rates are: a field that a user sets, or a column.
        loss_name: What the losses are.
        runs: The runs.
        left_out: Runs that were left out, by reason.
        warnings: What is wrong with the runs.
        batch_name: What the axis "batch" is.
    """

    source: str
    rate_name: str
    loss_name: str
    runs: tuple[RateRun, ...]
    left_out: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    batch_name: str = "batch size"


def analyse(given: RateRuns, command: str, tolerance: float = TOLERANCE) -> TransferReport:
    """Return the best rate of every size, how it moves, and the rules.

    Args:
        given: The runs.
        command: The command that asks, for the report.
        tolerance: A slope within plus and minus this counts as none.

    Raises:
        LoraJaxError: The runs have one rate, or change something else whenever they change the rate.
    """
    found = tuple(_analyse_series(series, tolerance) for series in sort_runs(given.runs, given.source))
    n_diverged = sum(run.diverged for run in given.runs)
    left_out = dict(given.left_out) | ({"diverged": n_diverged} if n_diverged else {})
    return TransferReport(
        source=given.source,
        command=command,
        rate_name=given.rate_name,
        loss_name=given.loss_name,
        tolerance=tolerance,
        n_runs=len(given.runs),
        left_out=left_out,
        series=found,
        warnings=(*given.warnings, *doubt_grids(given)),
        kind="transfer",
        format=FORMAT,
    )


def _analyse_series(series: RunSeries, tolerance: float) -> Series:
    data = {i: _losses_of(grid) for i, grid in enumerate(series.grids)}
    best, noise = find_all(data)
    bowls = [_make_bowl(grid, data[i], best[i]) for i, grid in enumerate(series.grids)]
    freedom = max(1, noise.freedom)
    drifts = find_drifts(bowls, freedom, tolerance)
    in_rule, rule_drifts = bowls, drifts
    if not is_relative(series.shared) and (in_params := by_params(bowls)):
        in_rule, rule_drifts = in_params, find_drifts(in_params, freedom, tolerance)
        drifts += tuple(drift for drift in rule_drifts if drift.axis == "N")
    has_fields = set(AXES) == set(bowls[0].sizes)
    return Series(
        label=series.label,
        settings=series.settings,
        follows=series.follows,
        noise=None if math.isnan(noise.sd) else noise.sd,
        degrees_of_freedom=noise.freedom,
        bowls=tuple(bowls),
        drifts=drifts,
        rule=find_rule(in_rule, rule_drifts, series.shared if has_fields else {}, freedom),
    )


def _losses_of(grid: Sequence[RateRun]) -> RateLosses:
    done = [run for run in grid if run.loss is not None]
    return RateLosses(
        np.array([math.log(run.rate) for run in done]),
        np.array([math.log(run.loss or math.nan) for run in done]),
        np.array([run.seed for run in done], dtype=np.int64),
        tuple(run.rate for run in grid if run.diverged),
    )


def _make_bowl(grid: Sequence[RateRun], data: RateLosses, best: BestRate | Refusal) -> Bowl:
    means = {round(k, 9): math.exp(v) for k, v in mean_losses(data).items()} if len(data.ln_rates) else {}
    rates = tuple(sorted({run.rate for run in grid}))
    return Bowl(
        sizes=dict(grid[0].sizes),
        n_params=grid[0].n_params,
        rates=rates,
        losses=tuple(means.get(round(math.log(rate), 9)) for rate in rates),
        n_seeds=max(Counter(run.rate for run in grid).values()),
        n_diverged=sum(run.diverged for run in grid),
        best=best if isinstance(best, BestRate) else None,
        refusal=best if isinstance(best, Refusal) else None,
    )


def doubt_grids(given: RateRuns) -> list[str]:
    """Return what the runs cannot tell, whatever their losses are. This is known before they train.

    Raises:
        LoraJaxError: As `analyse` does.
    """
    words = []
    for series in sort_runs(given.runs, given.source):
        few = [grid for grid in series.grids if len({run.rate for run in grid}) < LEAST_RATES]
        if few:
            words.append(
                f"{series.label}: {len(few)} of {len(series.grids)} sizes have fewer than {LEAST_RATES} rates"
                " and so no best one: give each at least 5."
            )
        sizes = {size_of(grid[0]) for grid in series.grids}
        if len(sizes) < LEAST_SIZES:
            there = "one size shows no drift" if len(sizes) == 1 else "two sizes show a ratio and no law"
            words.append(f"{series.label}: {there}: give at least {LEAST_SIZES}.")
        words += _doubt_heads(series)
    return words


def _doubt_heads(series: RunSeries) -> list[str]:
    """Doubt a parametrisation relative to a base where the heads get wider with the model."""
    if not is_relative(series.shared):
        return []
    wrong = explain_wider_heads((grid[0].sizes["width"], _head_width(grid[0])) for grid in series.grids)
    return [] if wrong is None else [f"{series.label}: {wrong}"]


def _head_width(run: RateRun) -> float:
    own = setting(run, "model.head_width")
    return (
        run.sizes["width"] / float(setting(run, "model.n_heads")) if own in ("null", DEFAULT) else float(own)
    )
