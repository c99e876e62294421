"""Designs: runs to train, what they cost, what they promise, and which of them tell a law's parameters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.fitting.certificate import COLLINEAR
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.planning.design_report import DesignReport, LadderPromise, PlannedRun, SimulatedPromise
from lora_jax.scaling.planning.forecast import Forecast, runs_of
from lora_jax.scaling.planning.spread import Spread
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.run_table import RunTable

FEWEST_LEVELS = 3  # sizes, and token counts, that a law of two variables needs
LADDER_RATIO = 20.0  # tokens a parameter (Hoffmann et al. 2203.15556)


@dataclass(frozen=True)
class Cell:
    """One run of a plan.

    Attributes:
        n_params: N.
        n_tokens: D.
        flops: Training FLOPs.
        paid_flops: FLOPs that it adds to the bill. On a shared trunk they are fewer.
        seconds: Time it takes, if the speed is known.
    """

    n_params: float
    n_tokens: float
    flops: float
    paid_flops: float
    seconds: float | None = None

    @property
    def tokens_per_parameter(self) -> float:
        return self.n_tokens / self.n_params

    def report(self) -> PlannedRun:
        return PlannedRun(tokens_per_parameter=self.tokens_per_parameter, **vars(self))


@dataclass(frozen=True)
class Ladder:
    """A ladder of runs with D = 20 N, of the same cost and number of runs as the plan.

    Attributes:
        cells: Its runs.
        spread: How far fits to its simulated tables scatter.
        plan_spread: The same for the plan.
    """

    cells: tuple[Cell, ...]
    spread: Spread
    plan_spread: Spread


@dataclass(frozen=True)
class Design:
    """Runs to train.

    Attributes:
        forecast: The law, the target and the noise.
        cells: The runs.
        budget_flops: The budget.
        existing: N and D of the runs that are already trained, (n,) each.
        sd: Standard deviation of ln L at the target, to first order.
        half_width: Half the width of the 95 % interval of ln L at the target, to first order.
        words: The plan in words.
        ladder: A ladder to compare with. None if nothing was simulated.
        warnings: Every doubt, in words.
    """

    forecast: Forecast
    cells: tuple[Cell, ...]
    budget_flops: float
    existing: tuple[Array, Array]  # N, D of the runs there are already
    sd: float
    half_width: float
    words: str
    ladder: Ladder | None
    warnings: tuple[str, ...]

    @property
    def spent_flops(self) -> float:
        return sum(cell.paid_flops for cell in self.cells)

    @property
    def seconds(self) -> float | None:
        """Wall time of all runs one after the other. None if no speed was given."""
        times = [cell.seconds for cell in self.cells if cell.seconds is not None]
        return sum(times) if len(times) == len(self.cells) else None

    @property
    def degrees_of_freedom(self) -> int:
        return len(self.cells) + len(self.existing[0]) - len(self.forecast.law.names)

    def report(self, notes: Sequence[str] = ()) -> DesignReport:
        """Return the plan as it is printed and written to design.json.

        Args:
            notes: Notes of the table of existing runs.
        """
        loss, ladder = self.forecast.loss(), self.ladder
        return DesignReport(
            law=self.forecast.law.key,
            params={name: float(value) for name, value in self.forecast.params.items()},
            noise_sd=self.forecast.noise_sd,
            n_parameter_sets=len(self.forecast.theta),
            budget_flops=self.budget_flops,
            spent_flops=self.spent_flops,
            seconds=self.seconds,
            n_runs=len(self.cells),
            n_existing=len(self.existing[0]),
            degrees_of_freedom=self.degrees_of_freedom,
            design=self.words,
            target=self.forecast.target.report(),
            loss_at_target=loss_interval(loss, self.sd, self.half_width),
            half_width_percent=in_percent(self.half_width),
            simulated=None if ladder is None else _simulated(loss, ladder.plan_spread),
            ladder=None if ladder is None else _ladder(loss, ladder),
            cells=tuple(cell.report() for cell in self.cells),
            warnings=self.warnings,
            notes=tuple(notes),
        )


def loss_interval(loss: float, sd: float, half_width: float) -> Estimate:
    """Return a loss with its interval.

    Args:
        loss: The loss.
        sd: Standard deviation of its logarithm.
        half_width: Half the interval of its logarithm.
    """
    ends = (float(loss * np.exp(-half_width)), float(loss * np.exp(half_width)))
    return Estimate(loss, loss * sd, ends)


def in_percent(half_width: float) -> float:
    """Return half the interval of a loss in percent, from that of its logarithm."""
    return 100 * float(np.expm1(half_width))


def check_design(cells: Sequence[Cell] | RunTable, law: Law = CHINCHILLA) -> None:
    """Check that runs can tell the law's parameters apart, whatever their losses will be.

    Args:
        cells: The runs.
        law: A law of N and D.

    Raises:
        LoraJaxError: D = k N in every run, ln N and ln D are correlated above .995, there are fewer than 3
            sizes or token counts, or fewer runs than parameters.
    """
    if isinstance(cells, RunTable):
        n_params, n_tokens = runs_of(cells)
    else:
        n_params, n_tokens = (np.array([getattr(c, x) for c in cells]) for x in ("n_params", "n_tokens"))
    if len(n_params) < len(law.names):
        raise LoraJaxError(
            f"{len(n_params)} runs for the {len(law.names)} parameters of {law.key}: plan at least as many."
        )
    x, y = np.log(n_params), np.log(n_tokens)
    if np.ptp(y - x) < 0.01:
        raise LoraJaxError(
            f"D = {np.exp(y - x).mean():.3g} N in every run, so the exponents of N and D cannot be separated:"
            " vary D/N."
        )
    n_sizes, n_counts = (int(levels(v).max()) + 1 for v in (n_params, n_tokens))
    if min(n_sizes, n_counts) < FEWEST_LEVELS:
        raise LoraJaxError(
            f"The runs have {n_sizes} sizes and {n_counts} token counts: give"
            f" {FEWEST_LEVELS} of each, or more."
        )
    correlation = float(np.corrcoef(x, y)[0, 1])
    if abs(correlation) > COLLINEAR:
        raise LoraJaxError(
            f"N and D move together over the runs (correlation {correlation:.4f} of their logarithms), so"
            " their exponents are hardly separated: vary D/N more."
        )


def _simulated(loss: float, spread: Spread) -> SimulatedPromise:
    return SimulatedPromise(
        loss_at_target=loss_interval(loss, spread.sd, spread.half_width),
        half_width_percent=in_percent(spread.half_width),
        n=spread.n,
        n_unfinished=spread.n_unfinished,
    )


def _ladder(loss: float, ladder: Ladder) -> LadderPromise:
    return LadderPromise(
        **vars(_simulated(loss, ladder.spread)),
        tokens_per_parameter=LADDER_RATIO,
        cells=tuple(cell.report() for cell in ladder.cells),
        narrower_by=1 - ladder.plan_spread.half_width / ladder.spread.half_width,
    )
