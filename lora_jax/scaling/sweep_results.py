"""What the fits of a sweep found, as types: docs/architecture.md, "fits.json"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from lora_jax.documents import Key
from lora_jax.estimate import Estimate
from lora_jax.scaling.results import BudgetRow, FitReport, LeftOutRun
from lora_jax.scaling.tables.cells import LearningRates, SeedNoise
from lora_jax.scaling.verdict import Level, Verdict, verdict_of

FORMAT = 3  # of what is written; in 1 and 2 a fit says less than its report (`older_sweeps.py`)
JOINT = "L(N,D)"  # the key of the fit that splits budgets and predicts the held-out cell


@dataclass(frozen=True, kw_only=True)
class SweepFit(FitReport):
    """One law of a sweep: its report, and the runs to which it was fitted.

    What only the figures of one law show is not kept.

    Attributes:
        key: Name of this fit in the rest of the document.
        slice: The runs in words.
        run_ids: The runs behind the rows. A row may be the mean of several.
        residuals: ln of measured over fitted loss, for each row.
    """

    key: str
    slice: str
    run_ids: tuple[str, ...]
    residuals: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Exponent(Estimate):
    """An exponent that is quoted. `fit` is the key of the fit that it belongs to."""

    fit: str


@dataclass(frozen=True, kw_only=True)
class SweepFrontier:
    """N*(C) = G (C / 6)^a and D*(C) = (C / 6)^b / G of the joint fit.

    Without such a fit the numbers are None and there are no rows.

    Attributes:
        run_ids: The compute-efficient runs.
    """

    a: Estimate | None
    b: Estimate | None
    coefficient: Annotated[Estimate | None, Key("G")]
    rows: tuple[BudgetRow, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class HeldoutPrediction:
    """What the fit of this key says of the held-out cell; ci95 is of a single run."""

    key: str
    value: float
    ci95: tuple[float, float] | None
    relative_error: float


@dataclass(frozen=True)
class HeldoutCell:
    """The largest cell, which no fit has seen; within_3_percent: of the joint fit, None without one."""

    run_id: str
    n_params: float
    n_tokens: float
    flops: float
    measured: float
    predictions: tuple[HeldoutPrediction, ...]
    within_3_percent: bool | None

    def predicted_by(self, key: str) -> HeldoutPrediction | None:
        return next((p for p in self.predictions if p.key == key), None)


@dataclass(frozen=True)
class SweepReport:
    """Every law that a sweep can carry: fits.json. What older files do not hold is None."""

    source: str
    n_runs: int
    n_fitted: int
    n_column: str
    flops_column: str
    left_out: tuple[LeftOutRun, ...]
    noise: SeedNoise
    fits: tuple[SweepFit, ...]
    exponents: Mapping[str, Exponent]
    by_convention: Mapping[str, Estimate]
    frontier: SweepFrontier
    heldout_cell: HeldoutCell
    learning_rate: LearningRates
    warnings: tuple[str, ...]
    columns: Mapping[str, str] | None = None
    counted: Mapping[str, str | None] | None = None
    loss_name: str | None = None
    loss_unit: str | None = None
    unit_told: bool | None = None
    format: int = 1

    def fit(self, key: str) -> SweepFit | None:
        """Return the fit of this key, such as "L(N)", or None where it was not made."""
        return next((fit for fit in self.fits if fit.key == key), None)

    @property
    def joint(self) -> SweepFit | None:
        """The fit of L(N,D)."""
        return self.fit(JOINT)

    @property
    def unconverged(self) -> tuple[str, ...]:
        """Keys of the fits that did not converge."""
        return tuple(fit.key for fit in self.fits if not fit.certificate.converged)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on L(N,D), to which every run goes; without it that on all fits. None without any fit.

        A held-out cell that is not predicted comes first. A law along one axis is a slice of the runs and has
        a verdict of its own. That counts here where L(N,D) is missing: of each fit its first doubt, but for
        doubts of the table, which every fit shares.
        """
        if not self.fits:
            return None
        judged = [self.joint] if self.joint is not None else list(self.fits)
        warned = {line for fit in judged for line in fit.certificate.warnings}
        reasons = [line for line in self.warnings if line in warned]
        for fit in judged:
            own = [line for line in fit.certificate.warnings if line not in reasons]
            counted = own if self.joint is not None else own[:1]
            reasons += [f"{fit.key}: {line}" for line in counted]
        if self.heldout_cell.within_3_percent is False:
            reasons.insert(0, "the held-out cell is not predicted within 3 %")
        refused = any(fit.certificate.verdict.level is Level.DO_NOT_BELIEVE for fit in judged)
        return verdict_of(reasons, converged=not self.unconverged and not refused)

    @property
    def doubted(self) -> tuple[str, ...]:
        """Keys of the laws along one axis that are not to be believed without care."""
        return tuple(
            fit.key for fit in self.fits if fit.key != JOINT and not fit.certificate.verdict.is_believed
        )
