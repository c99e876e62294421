"""The next run worth buying: the one that narrows the interval at the target most, beside the runs there are.

One run with gradient j takes (g'M^-1 j)^2 / (1 + j'M^-1 j) off the variance g'M^-1 g, where M = J'J of the
runs there are (Sherman and Morrison 1950). So all candidates are judged at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.percent import percent
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.planning.design import Cell, check_design, in_percent, loss_interval
from lora_jax.scaling.planning.design_report import NextRunReport, OfferedRun, Promise
from lora_jax.scaling.planning.forecast import FlopsPerToken, Forecast, make_forecast, runs_of, six_n
from lora_jax.scaling.planning.plan_design import RATIO_RANGE
from lora_jax.scaling.prediction.reach import out_of_reach
from lora_jax.scaling.tables.run_table import RunTable

WORTH = 0.05  # of the interval: what the best candidate must take off to be worth a run
NEARLY = 0.1  # the cheapest candidate this close to the best, in gain and in interval, is the one named
USELESS = 1.0  # half-width of ln L, a factor e, from which first-order theory says no more than "useless"
SIZES, RATIOS = 25, 17  # candidates, evenly spaced in their logarithms
LONGER = 2.0  # sizes on offer reach this far beyond those of the runs there are, by default


@dataclass(frozen=True)
class Candidate:
    """A run on offer, and what it would do to the interval of ln L at the target.

    Attributes:
        cell: The run's N, D and cost.
        sd: Standard deviation of ln L at the target with this run.
        half_width: Half the interval of ln L at the target with this run.
        narrower: Share of the interval that this run takes off.
    """

    cell: Cell
    sd: float
    half_width: float
    narrower: float

    @property
    def narrower_per_flop(self) -> float:
        return self.narrower / self.cell.flops


@dataclass(frozen=True)
class NextRun:
    """The next run, and all that were on offer.

    Attributes:
        forecast: The law, the target and the noise.
        sd: Standard deviation of ln L at the target with the runs there are.
        half_width: Half the interval of ln L at the target with the runs there are.
        worth: Share of the interval that a run must take off.
        choice: The run worth buying. None if no run narrows the interval by more than `worth`.
        candidates: All runs on offer, the largest gain first.
        warnings: Every doubt, in words.
    """

    forecast: Forecast
    sd: float
    half_width: float
    worth: float
    choice: Candidate | None
    candidates: tuple[Candidate, ...]
    warnings: tuple[str, ...]

    @property
    def best_per_flop(self) -> Candidate:
        """The candidate that narrows the interval most per FLOP. It is often too small a run."""
        return max(self.candidates, key=lambda c: c.narrower_per_flop)

    @property
    def words(self) -> str:
        """The recommendation in words."""
        best = self.candidates[0]
        if self.choice is None:
            return (
                f"nothing on offer narrows the interval by more than {percent(self.worth)}: the best, N ="
                f" {best.cell.n_params:.3g} and D = {best.cell.n_tokens:.3g}, takes off"
                f" {percent(best.narrower, 1)}"
            )
        cell = self.choice.cell
        return (
            f"train N = {cell.n_params:.3g} on D = {cell.n_tokens:.3g} ({cell.flops:.3g} FLOPs): the interval"
            f" at the target goes from {_half_width(self.half_width)} to"
            f" {_half_width(self.choice.half_width)}"
        )

    def report(self, notes: Sequence[str] = (), most: int = 10) -> NextRunReport:
        """Return the answer as it is printed and written to design.json.

        An interval is None if it is wider than a factor e either way.

        Args:
            notes: Notes of the table.
            most: How many candidates to list by gain, and by gain per FLOP.
        """
        per_flop = sorted(self.candidates, key=lambda c: -c.narrower_per_flop)
        return NextRunReport(
            law=self.forecast.law.key,
            noise_sd=self.forecast.noise_sd,
            target=self.forecast.target.report(),
            before=self._promise(self.sd, self.half_width),
            worth=self.worth,
            choice=None if self.choice is None else self._offered(self.choice),
            words=self.words,
            by_gain=tuple(self._offered(one) for one in self.candidates[:most]),
            by_gain_per_flop=tuple(self._offered(one) for one in per_flop[:most]),
            warnings=self.warnings,
            notes=tuple(notes),
        )

    def _promise(self, sd: float, half_width: float) -> Promise:
        if half_width >= USELESS:
            return Promise(None, None)
        return Promise(loss_interval(self.forecast.loss(), sd, half_width), in_percent(half_width))

    def _offered(self, one: Candidate) -> OfferedRun:
        return OfferedRun(
            **vars(one.cell.report()),
            **vars(self._promise(one.sd, one.half_width)),
            narrower=one.narrower,
            narrower_per_flop=one.narrower_per_flop,
        )


def next_run(
    table: RunTable,
    params: Mapping[str, float],
    max_flops: float,
    *,
    law: Law = CHINCHILLA,
    noise_sd: float = 0.01,
    target: Mapping[str, float] | None = None,
    target_flops: float | None = None,
    n_range: tuple[float, float] | None = None,
    ratio_range: tuple[float, float] = RATIO_RANGE,
    max_tokens: float = np.inf,
    flops_per_token: FlopsPerToken = six_n,
    flops_per_second: float | None = None,
    draws: Mapping[str, Array] | None = None,
    worth: float = WORTH,
) -> NextRun:
    """Choose the one run that is most worth adding to a table.

    It is the cheapest candidate that gives at least nine tenths of the best gain and an interval at most a
    tenth wider than the best. If even the best candidate narrows the interval by no more than `worth`, no run
    is chosen.

    Args:
        table: The runs that are already trained.
        params: Published parameters of the law, usually those of a fit.
        max_flops: Largest cost of the run, in training FLOPs.
        law: A law of N and D.
        noise_sd: Standard deviation of ln L between seeds.
        target: Where to know the loss: {"N": parameters, "D": tokens}. Give this or `target_flops`.
        target_flops: Where to know the loss: the run of least loss at this compute.
        n_range: Smallest and largest N on offer. None takes the smallest run's N to twice the largest run's.
        ratio_range: Smallest and largest D/N on offer.
        max_tokens: Largest number of tokens.
        flops_per_token: Maps parameters (n,) to training FLOPs per token (n,). The default is 6 N.
        flops_per_second: Measured speed, to show how long each run takes.
        draws: Bootstrap replicates of the parameters, each (B,). At most 32 are used, and the interval is the
            median over them.
        worth: Share of the interval that the best candidate must take off.

    Returns:
        The chosen run, the interval with and without it, and all candidates.

    Raises:
        LoraJaxError: The runs do not determine the law or leave no degree of freedom, or nothing is on offer.

    Reference: Sherman and Morrison 1950, for the variance after one more run.
    """
    forecast = make_forecast(
        law,
        params,
        noise_sd=noise_sd,
        target=target,
        target_flops=target_flops,
        flops_per_token=flops_per_token,
        draws=draws,
    )
    n_params, n_tokens = runs_of(table)
    freedom = len(n_params) - len(law.names)
    jacobian = forecast.jacobian(n_params, n_tokens)
    before = forecast.variance(jacobian) if freedom > 0 else None
    if before is None:
        raise LoraJaxError(
            f"The {len(n_params)} runs of {table.source} leave the {len(law.names)} parameters of {law.key}"
            " without an interval: plan a design of several runs."
        )
    if n_range is None:
        n_range = (float(n_params.min()), LONGER * float(n_params.max()))
    sizes, tokens = _offer(n_range, ratio_range, max_flops, max_tokens, flops_per_token)
    after = _variances(forecast, jacobian, sizes, tokens)
    half_width = forecast.half_width(before, freedom)
    found = []
    for i, (n, d) in enumerate(zip(sizes, tokens, strict=True)):
        flops = float(flops_per_token(np.array([n]))[0] * d)
        seconds = None if flops_per_second is None else flops / flops_per_second
        width = forecast.half_width(after[:, i], freedom + 1)
        cell = Cell(float(n), float(d), flops, flops, seconds)
        found.append(Candidate(cell, forecast.sd(after[:, i]), width, 1 - width / half_width))
    found.sort(key=lambda one: (-one.narrower, one.cell.flops))
    choice = _cheapest_of_the_best(found, worth) if found[0].narrower > worth else None
    goal = forecast.target
    far = out_of_reach(table, [6 * goal.n_params * goal.n_tokens])
    warnings = (*table.doubts, *far, *_doubts(table, law))
    return NextRun(forecast, forecast.sd(before), half_width, worth, choice, tuple(found), warnings)


def _cheapest_of_the_best(found: list[Candidate], worth: float) -> Candidate:
    best = found[0]
    enough = [
        one
        for one in found
        if one.narrower >= max((1 - NEARLY) * best.narrower, worth)
        and one.half_width <= (1 + NEARLY) * best.half_width
    ]
    return min(enough, key=lambda one: one.cell.flops)


def _half_width(half_width: float) -> str:
    shown = percent(np.expm1(half_width), 2)
    return f"\u00b1{shown}" if half_width < USELESS else "one too wide for any use"


def _offer(
    n_range: tuple[float, float],
    ratio_range: tuple[float, float],
    max_flops: float,
    max_tokens: float,
    flops_per_token: FlopsPerToken,
) -> tuple[Array, Array]:
    """Return N and D (m,) of the runs on a grid of N by D/N that cost no more than max_flops."""
    n, ratio = (
        x.ravel()
        for x in np.meshgrid(
            np.round(np.geomspace(*n_range, SIZES)), np.geomspace(*ratio_range, RATIOS), indexing="ij"
        )
    )
    d = np.round(ratio * n)
    fits = (flops_per_token(n) * d <= max_flops) & (d <= max_tokens)
    if not fits.any():
        raise LoraJaxError(
            f"No run with N from {n_range[0]:.3g} to {n_range[1]:.3g} and D/N from {ratio_range[0]:g} to"
            f" {ratio_range[1]:g} costs at most {max_flops:.3g} FLOPs: allow a dearer or a smaller one."
        )
    return n[fits], d[fits]


def _variances(forecast: Forecast, jacobian: Array, n_params: Array, n_tokens: Array) -> Array:
    """Return the variance factor (B, m) at the target with each of the candidates added."""
    rows = forecast.jacobian(n_params, n_tokens)
    vectors = np.concatenate([forecast.gradient()[:, None], rows], axis=1)
    white = forecast.whiten(jacobian, vectors)
    assert white is not None  # the caller has asked for the variance of these very runs
    z, y = white[:, :1], white[:, 1:]
    return (z**2).sum(-1) - (z * y).sum(-1) ** 2 / (1 + (y**2).sum(-1))


def _doubts(table: RunTable, law: Law) -> list[str]:
    try:
        check_design(table, law)
    except LoraJaxError as reason:
        return [
            f"the interval before is to first order, which nearly collinear runs make far too wide: {reason}"
        ]
    return []
