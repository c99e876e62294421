"""One law in a comparison: its errors, and how they compare with those of the best law."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lora_jax.scaling.comparing.comparison_report import Noise, RankedLaw
from lora_jax.scaling.comparing.error_resampling import Draws, bounds_of
from lora_jax.scaling.comparing.extrapolation import Extrapolation
from lora_jax.scaling.comparing.origins import number_cells
from lora_jax.scaling.fitting.problem import Answer
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.run_table import RunTable

Status = Literal["best", "exact", "tied", "worse", "unresolved"]
EXACT = 1e-6  # of ln: smaller errors are rounding
DIGITS = 7  # decimals of ln of single errors that are told


@dataclass(frozen=True)
class Tried:
    """A law that was tried.

    Attributes:
        name: Its name on the command line.
        law: The law.
        whole: Its fit to all rows.
        found: Its errors beyond the rows of every split.
    """

    name: str
    law: Law
    whole: Answer
    found: Extrapolation


@dataclass(frozen=True)
class Standing:
    """How a law compares with the best one, over the predictions from all origins.

    The intervals hold together, at 95 %, for all laws that are compared. They are None if too few units were
    predicted.

    Attributes:
        difference: Mean squared error of the law less that of the best law.
        excess: Root mean square error of the law over that of the best law, less 1.
        below_noise: Whether the difference is smaller than the squared noise. None if the noise is not known.
        status: "exact" if both laws predict exactly up to rounding, "unresolved" if there is no interval.
    """

    status: Status
    difference: float
    difference_ci95: tuple[float, float] | None
    excess: float
    excess_ci95: tuple[float, float] | None
    below_noise: bool | None


@dataclass(frozen=True)
class Row:
    """One law of the comparison. All errors are of ln of the response, predicted less measured.

    Attributes:
        insample_rms: Error of the fit to all rows, for contrast.
        heldout_rms: Error on the largest tenth of a table of many rows, else on the largest cell.
        heldout_error: predicted / measured - 1 for the largest cell, when it alone is left out. Of several
            rows it is the geometric mean.
        rolling_rms: Error over all predictions from all origins, with its standard error and 95 % interval.
        standing: Comparison with the best law. None if the law could not be fitted at every origin.
        errors: (M,). None if the law could not be fitted at every origin.
    """

    name: str
    law: Law
    insample_rms: float
    heldout_rms: float | None
    heldout_error: float | None
    origin_rms: tuple[float | None, ...]
    rolling_rms: float | None
    rolling_se: float | None
    rolling_ci95: tuple[float, float] | None
    errors: Array | None
    standing: Standing | None
    verdict: str
    notes: tuple[str, ...]

    def report(self) -> RankedLaw:
        """Return the law as it is printed. Its single errors are rounded."""
        law, beside = self.law, self.standing
        return RankedLaw(
            name=self.name,
            key=law.key,
            title=law.name,
            formula=law.formula,
            n_params=len(law.names),
            insample_rms=self.insample_rms,
            heldout_rms=self.heldout_rms,
            heldout_error=self.heldout_error,
            origin_rms=self.origin_rms,
            rolling_rms=self.rolling_rms,
            rolling_se=self.rolling_se,
            rolling_ci95=self.rolling_ci95,
            difference=beside and beside.difference,
            difference_ci95=beside and beside.difference_ci95,
            excess=beside and beside.excess,
            excess_ci95=beside and beside.excess_ci95,
            below_noise=beside and beside.below_noise,
            status=beside.status if beside else "not fitted",
            verdict=self.verdict,
            notes=self.notes,
            errors=None if self.errors is None else tuple(round(float(e), DIGITS) for e in self.errors),
        )


def stand(
    errors: Array, best: Array, draws: Draws | None, noise: Noise | None, n_compared: int, is_best: bool
) -> Standing:
    """Compare a law's errors with the best law's, prediction by prediction.

    Args:
        n_compared: Number of laws beside the best one. The intervals hold together over all of them.
    """
    gap, least = errors**2 - best**2, max(rms(best), EXACT)
    difference, excess = float(gap.mean()), max(rms(errors), EXACT) / least - 1
    below = None if noise is None else bool(difference < noise.sd**2)
    difference_ci = excess_ci = None
    if draws is not None:
        mine, theirs = (np.maximum(draws.mean(e**2), EXACT**2) for e in (errors, best))
        difference_ci = bounds_of(draws.mean(gap), n_compared)
        excess_ci = bounds_of(np.sqrt(mine / theirs) - 1, n_compared)
    status: Status = "tied"
    if is_best:
        status = "best"
    elif rms(errors) < EXACT:
        status = "exact"
    elif difference_ci is None:
        status = "unresolved"
    elif difference_ci[0] > 0:
        status = "worse"
    return Standing(status, difference, difference_ci, excess, excess_ci, below)


def noise_of(table: RunTable, response: str, best: Answer) -> Noise | None:
    """Return the noise of one run, or None if nothing tells it.

    It is the pooled standard deviation between runs of one cell (and of one learning rate, if the table has
    it). Without such runs it is the standard deviation of the best law's residuals. Cells are rows that are
    equal in all that varies. So rows with other unique tokens do not count as seeds of one another.

    Args:
        table: The runs.
        response: The column that is predicted.
        best: The best law's fit to all rows.
    """
    labels, log_response = number_cells(table), np.log(table[response])
    if "base_learning_rate" in table.columns:
        pairs = np.stack([labels, levels(table["base_learning_rate"])], axis=1)
        labels = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(labels)
    means = np.bincount(labels, log_response) / counts
    spare, n_cells = len(table) - len(counts), int((counts > 1).sum())
    between = float(np.sqrt(((log_response - means[labels]) ** 2).sum() / spare)) if spare else 0.0
    if between > EXACT:
        of = "rows" if table.doubts else "runs"  # which may differ in more than noise
        return Noise(between, f"between the {of} of {n_cells} cell{'s' if n_cells > 1 else ''}")
    sd = best.problem.noise_sd(best.theta)
    return Noise(sd, "what the best law leaves of all rows") if sd and sd > EXACT else None


def rms(values: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt((values**2).mean()))
