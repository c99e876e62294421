"""What the fits of a sweep found, as types. docs/architecture.md describes them at "fits.json"."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from lora_jax.documents import Key
from lora_jax.estimate import Estimate
from lora_jax.scaling.results import BudgetRow, FitReport, LeftOutRun
from lora_jax.scaling.tables.cells import LearningRates, SeedNoise
from lora_jax.scaling.verdict import Level, Verdict, verdict_of

FORMAT = 3  # the format that we write; in 1 and 2 a fit says less (`older_sweeps.py`)
JOINT = "L(N,D)"  # the key of the fit that splits budgets and predicts the held-out cell


@dataclass(frozen=True, kw_only=True)
class SweepFit(FitReport):
    """One law of a sweep: its report, and the runs it was fitted to.

    We do not keep what only the figures of one law show.

    Attributes:
        key: Name of this fit in the rest of the document.
        slice: The runs in words.
        run_ids: The runs behind the rows. A row may be the mean of several.
        residuals: ln of measured over fitted loss, for each run, in the order of `run_ids`.
    """

    key: str
    slice: str
    run_ids: tuple[str, ...]
    residuals: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Exponent(Estimate):
    """An exponent as people quote it.

    Attributes:
        fit: Key of the fit that it belongs to.
    """

    fit: str


@dataclass(frozen=True, kw_only=True)
class SweepFrontier:
    """N*(C) = G (C / 6)^a and D*(C) = (C / 6)^b / G of the joint fit.

    Without a joint fit the numbers are None and there are no rows.

    Attributes:
        a: Exponent of N*.
        b: Exponent of D*.
        coefficient: G.
        rows: N*, D* and the loss at several budgets.
        run_ids: The compute-efficient runs.
    """

    a: Estimate | None
    b: Estimate | None
    coefficient: Annotated[Estimate | None, Key("G")]
    rows: tuple[BudgetRow, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class HeldoutPrediction:
    """What one fit predicts for the held-out cell.

    Attributes:
        key: Key of the fit.
        value: The predicted loss.
        ci95: The 95 % interval for a single run.
        relative_error: Predicted over measured loss, less 1.
    """

    key: str
    value: float
    ci95: tuple[float, float] | None
    relative_error: float


@dataclass(frozen=True)
class HeldoutCell:
    """The largest cell, which no fit has seen.

    Attributes:
        run_id: Its first run.
        n_params: Its N.
        n_tokens: Its D.
        flops: Its C.
        measured: The measured loss.
        predictions: What each fit predicts.
        within_3_percent: Whether the joint fit predicts it within 3 %. None without a joint fit.
    """

    run_id: str
    n_params: float
    n_tokens: float
    flops: float
    measured: float
    predictions: tuple[HeldoutPrediction, ...]
    within_3_percent: bool | None

    def predicted_by(self, key: str) -> HeldoutPrediction | None:
        """Return the prediction of the fit with this key, or None."""
        return next((p for p in self.predictions if p.key == key), None)


@dataclass(frozen=True)
class SweepReport:
    """Every law that a sweep can carry. This is fits.json, whose keys docs/architecture.md lists.

    A field that older files do not hold is None.
    """

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
        """Return the fit with this key, such as "L(N)", or None if there is none."""
        return next((fit for fit in self.fits if fit.key == key), None)

    @property
    def joint(self) -> SweepFit | None:
        """The fit of L(N,D), or None if there is none."""
        return self.fit(JOINT)

    @property
    def unconverged(self) -> tuple[str, ...]:
        """Keys of the fits that did not converge."""
        return tuple(fit.key for fit in self.fits if not fit.certificate.converged)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the sweep. None without any fit.

        It is the verdict on L(N,D), which is fitted to every run. If the held-out cell is not predicted, that
        is the first doubt. Each law along one axis is fitted to a slice of the runs and has a verdict of its
        own. Only if L(N,D) is missing do these laws count here. Then each adds its first doubt, beside doubts
        about the table, which all fits share.
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
        """Keys of the laws along one axis whose verdict is not "believe it"."""
        return tuple(
            fit.key for fit in self.fits if fit.key != JOINT and not fit.certificate.verdict.is_believed
        )
