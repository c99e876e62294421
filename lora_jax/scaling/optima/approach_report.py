"""What approaches 1 and 2 found, as types: docs/architecture.md, "fit.json".

Every field is the key of the same name in the document. The document is flat: first what the approach found,
then what was asked of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lora_jax.documents import Unreadable, fields_from_document, fields_to_document, from_document
from lora_jax.estimate import Estimate
from lora_jax.scaling.verdict import Verdict, verdict_of


@dataclass(frozen=True)
class Optimum:
    """N*, D* and D/N at a budget.

    Attributes:
        flops: The budget, in FLOPs.
        n_params: N*.
        n_tokens: D*.
        tokens_per_param: D*/N*.
    """

    flops: float
    n_params: Estimate
    n_tokens: Estimate
    tokens_per_param: Estimate


@dataclass(frozen=True)
class OptimumBand:
    """A power law at budgets (m,), with its 95 % band."""

    value: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class OptimumBands:
    """N* and D* at budgets `flops`, (m,)."""

    flops: tuple[float, ...]
    n_params: OptimumBand
    n_tokens: OptimumBand


@dataclass(frozen=True)
class BudgetMinimum:
    """The optimum of one budget. Its intervals contain the noise of the runs only.

    Attributes:
        run_ids: The runs that were used, (k,).
        sizes: N of these runs, (k,).
        losses: Losses of these runs, (k,).
        curve_sizes: N along the fitted curve, (g,), for a plot.
        curve_losses: Losses along the fitted curve, (g,).
        at_edge: Share of noise draws whose minimum lies at or beyond the smallest or largest size.
    """

    flops: float
    n_params: Estimate
    n_tokens: Estimate
    tokens_per_param: Estimate
    loss: Estimate
    run_ids: tuple[str, ...]
    sizes: tuple[float, ...]
    losses: tuple[float, ...]
    curve_sizes: tuple[float, ...]
    curve_losses: tuple[float, ...]
    at_edge: float


@dataclass(frozen=True)
class RefusedBudget:
    """A budget whose runs, (k,), show no minimum.

    Attributes:
        flops: The budget.
        reason: Why there is no minimum.
    """

    flops: float
    reason: str
    run_ids: tuple[str, ...]
    sizes: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Sensitivity:
    """What the other method finds, and how far the two methods differ.

    Attributes:
        n_budgets: Number of budgets of the other method.
        n_common: Number of budgets that both methods have.
        difference: Difference of the exponent `a` on the common budgets.
        largest_factor: Largest factor between the two N* on the common budgets.
        said: All of it in words.
    """

    method: str
    n_budgets: int
    a: Estimate | None
    n_common: int | None
    difference: float | None
    largest_factor: float | None
    said: str


@dataclass(frozen=True)
class IsoFlopResult:
    """Approach 2: a minimum for each budget. The fields are those of `isoflop.IsoFlop`."""

    approach: ClassVar = 2

    source: str
    method: str
    scale: str
    exponents: Mapping[str, Estimate]
    rows: tuple[BudgetMinimum, ...]
    refused: tuple[RefusedBudget, ...]
    noise_sd: float | None
    scatter_sd: float
    bands: OptimumBands
    sensitivity: Sensitivity


@dataclass(frozen=True)
class Stretch:
    """The part of the envelope that one run wins. Its ends are in FLOPs, tokens and loss.

    Attributes:
        fitted: Whether a smaller and a larger size also trained as far. Only such stretches are fitted.
    """

    run_id: str
    n_params: float
    fitted: bool
    flops: tuple[float, float]
    n_tokens: tuple[float, float]
    loss: tuple[float, float]


@dataclass(frozen=True)
class EnvelopeResult:
    """Approach 1: the envelope as its stretches. The fields are those of `envelope.Envelope`."""

    approach: ClassVar = 1

    exponents: Mapping[str, Estimate]
    n_bins: int
    n_fitted_bins: int
    n_sizes: int
    n_failed: int
    stretches: tuple[Stretch, ...]
    bands: OptimumBands


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The table that was asked, every doubt about the answer, and N* and D* at the requested budgets."""

    source: str
    loss_unit: str
    columns: Mapping[str, str]
    warnings: tuple[str, ...]
    predictions: tuple[Optimum, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApproachReport(Asked):
    """Approach 1 or 2 on one table: fit.json."""

    found: IsoFlopResult | EnvelopeResult

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.warnings)

    @property
    def minima(self) -> tuple[BudgetMinimum, ...]:
        """The budgets of approach 2 that have a minimum. For approach 1 it is empty."""
        return self.found.rows if isinstance(self.found, IsoFlopResult) else ()

    def to_document(self) -> dict[str, Any]:
        """Return the document: what was found, what was asked, and the verdict."""
        asked = fields_to_document(self)
        found, notes = asked.pop("found"), asked.pop("notes", [])
        doubts = {"warnings": asked["warnings"], "verdict": self.verdict.words}
        return {"approach": self.found.approach, **found, **doubts, **asked, "notes": notes}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "ApproachReport":
        """Read the document of either approach.

        Raises:
            Unreadable: It is of no approach, or a field is missing or has the wrong type.
        """
        number = document.get("approach")
        kinds = [kind for kind in (EnvelopeResult, IsoFlopResult) if kind.approach == number]
        if not kinds:
            raise Unreadable(f"'approach' is {number!r}, but it must be 1 or 2")
        asked = fields_from_document(Asked, document)
        return cls(found=from_document(kinds[0], document), **vars(asked))
