"""What a fit of one law found, as types. docs/architecture.md describes them at "fit.json".

Every field is the key of the same name in the document, unless it names another key. `documents.py` writes
and reads them. Code that needs a result takes these types and no dictionary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from lora_jax.documents import Key, fields_from_document, fields_to_document, from_document
from lora_jax.estimate import Estimate
from lora_jax.scaling.comparing.comparison_report import ComparisonReport
from lora_jax.scaling.estimate import Parameter, Prediction
from lora_jax.scaling.verdict import Verdict, verdict_of

FORMAT = 2  # the format that we write; files without a number are of format 1


@dataclass(frozen=True)
class LeftOutRun:
    """A run that is not fitted, and why."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class Objective:
    """What was minimised.

    Attributes:
        name: The objective in one word.
        value: Its value at the answer.
        words: The objective in words.
    """

    name: str
    value: float
    words: str | None = None


@dataclass(frozen=True)
class Resampling:
    """A bootstrap.

    Attributes:
        kind: How it drew.
        n: How many replicates it made.
        n_failed: How many of them did not converge.
        reason: Why it drew in this way.
    """

    kind: str
    n: int
    n_failed: int
    reason: str | None = None


@dataclass(frozen=True)
class Band:
    """The response of a law of one variable at x, with its 95 % interval. Each field has shape (m,)."""

    x: tuple[float, ...]
    loss: tuple[float, ...]
    low: Annotated[tuple[float, ...], Key("lo")]
    high: Annotated[tuple[float, ...], Key("hi")]


@dataclass(frozen=True)
class BudgetRow:
    """N*, D* and the loss at a budget in FLOPs, counted as 6 N D."""

    flops: float
    n_params: Estimate
    n_tokens: Estimate
    loss: Estimate


@dataclass(frozen=True)
class Moved:
    """How far the leading exponent moves without some runs.

    Attributes:
        exponent: Name of the exponent.
        shift: How far it moves.
        run_ids: The runs that were left out.
    """

    exponent: str
    shift: float
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class ResidualStructure:
    """The fields of `fitting.structure.Structure`, as a document holds them."""

    p: float
    direction: str
    n_directions: int
    size: float
    share: float
    thirds: tuple[float, float, float]


@dataclass(frozen=True)
class LargestPredicted:
    """The fields of `comparing.largest_runs.LargestRuns`, as a document holds them.

    Attributes:
        errors: The smallest and the largest error.
    """

    share: float
    n_runs: int
    n_inside: int
    errors: tuple[float, float]
    p_inside: float
    p_side: float


@dataclass(frozen=True, kw_only=True)
class FitCertificate:
    """The checks of a fit: whether it is a minimum, what we found about it, and every doubt.

    `fitting.certificate.Certificate` explains the fields. A report of an older sweep did not record
    `n_minima`, `at_bound`, `weakly_identified` and `start_equals_answer`. They are None there.
    """

    converged: bool
    grad_norm: float
    polish_gain: float
    condition_number: float
    n_minima: int | None
    at_bound: tuple[str, ...] | None
    weakly_identified: tuple[str, ...] | None
    start_equals_answer: bool | None
    influence: Moved | None
    outliers: Moved | None
    structure: ResidualStructure | None
    largest_runs: LargestPredicted | None
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether to believe the fit: a level, and the doubts that it follows from."""
        return verdict_of(self.warnings, self.converged)

    def to_document(self) -> dict[str, Any]:
        """Return the fields, and the verdict in words that follows from them."""
        document = fields_to_document(self)
        warnings = document.pop("warnings")
        return {**document, "verdict": self.verdict.words, "warnings": warnings}


@dataclass(frozen=True)
class Leading:
    """The number of a law that people quote."""

    name: str
    value: float


@dataclass(frozen=True)
class PublishedValue:
    """A parameter of a published fit.

    Attributes:
        theirs: The published value.
        inside: Whether it lies inside our interval.
    """

    theirs: float
    inside: bool


@dataclass(frozen=True)
class Difference:
    """Whether the fit differs from published constants.

    Attributes:
        name: Name of the published fit, or "given (1)" and so on for constants that the user gave.
        p: p-value of the joint test.
        objective_ratio: The objective at the published constants over that at the fit.
        params: Each published parameter beside ours.
        words: The answer in words.
    """

    name: str
    p: float
    objective_ratio: float | None
    params: Mapping[str, PublishedValue]
    words: str


OF_A_RUN = ("run_id", "measured", "fitted", "influence")  # keys of a run's document that are no variables


@dataclass(frozen=True)
class FittedRun:
    """One row of the table.

    Attributes:
        run_id: Its name.
        at: Its value of each variable.
        measured: The measured value.
        fitted: The fitted value.
        influence: How far the leading number moves without this row. None if it was not computed.
    """

    run_id: str
    at: Mapping[str, float]
    measured: float
    fitted: float
    influence: float | None

    def to_document(self) -> dict[str, Any]:
        """Return the document, in which the variables are keys beside the others."""
        rest = {"measured": self.measured, "fitted": self.fitted, "influence": self.influence}
        return {"run_id": self.run_id, **self.at, **rest}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "FittedRun":
        """Read a row. Keys that are not fields are variables."""
        plain = fields_from_document(cls, {**document, "at": {}})
        at = {name: from_document(float, x, name) for name, x in document.items() if name not in OF_A_RUN}
        return replace(plain, at=at)


@dataclass(frozen=True)
class ProfileCurve:
    """The profile of one parameter.

    Attributes:
        value: Values of the parameter, (m,).
        objective: The objective at each value, (m,).
        best: The objective at the fit.
        threshold: The objective at the ends of the interval.
        ci95: The 95 % interval. An open end is None.
    """

    value: tuple[float, ...]
    objective: tuple[float, ...]
    best: float
    threshold: float
    ci95: tuple[float | None, float | None]


@dataclass(frozen=True)
class FitFrontier:
    """N*, D* and the loss at budgets along the frontier."""

    rows: tuple[BudgetRow, ...]


@dataclass(frozen=True)
class Convention:
    """The leading exponent by one way of counting N and C.

    Attributes:
        n_column: The column that counts N.
        flops_column: The column that counts C.
        columns: Where each variable came from, in words.
        exponent: The exponent with its interval.
    """

    n_column: str
    flops_column: str
    columns: Mapping[str, str]
    exponent: Estimate


@dataclass(frozen=True)
class FitReport:
    """One law on one table, with every answer. This is fit.json.

    docs/architecture.md lists the fields.

    Attributes:
        law: The law's key, such as "L(N,D)".
        name: The law in words.
        n_clusters: How many groups of runs the bootstrap drew from. None in a report of an older sweep.
        clusters: What the groups are. None in a report of an older sweep.
        params: The parameters by name, with intervals.
        derived: Numbers that follow from the parameters, with intervals.
        certificate: The checks of the fit and of the runs.
        predictions: The answers to the questions.
    """

    law: str
    name: str
    formula: str
    reference: str
    variables: tuple[str, ...]
    response: str
    table: str
    n: int
    n_clusters: int | None
    clusters: str | None
    columns: Mapping[str, str]
    unit_told: bool
    loss_unit: str
    response_unit: str
    n_column: str
    flops_column: str
    notes: tuple[str, ...]
    left_out: tuple[LeftOutRun, ...]
    objective: Objective
    params: Mapping[str, Parameter]
    derived: Mapping[str, Estimate]
    leading: Leading
    bootstrap: Resampling
    certificate: FitCertificate
    predictions: tuple[Prediction, ...]
    differences: tuple[Difference, ...]
    runs: tuple[FittedRun, ...]
    profiles: Mapping[str, ProfileCurve]
    samples: Mapping[str, tuple[float, ...]]
    band: Band | None
    frontier: FitFrontier | None
    conventions: Mapping[str, Convention]
    comparison: ComparisonReport | None
    command: str
    versions: Mapping[str, str]
    format: int = 1

    @property
    def verdict(self) -> Verdict:
        """Whether to believe the fit."""
        return self.certificate.verdict

    @property
    def is_given(self) -> bool:
        """Whether the parameters were given and not fitted."""
        return any(number.by == "judged" for number in self.params.values())

    @property
    def leading_estimate(self) -> Estimate | None:
        """The leading number with its interval.

        None if it is neither a parameter nor a derived number of the law.
        """
        return self.derived.get(self.leading.name) or self.params.get(self.leading.name)

    def without_bulk(self) -> "FitReport":
        """Return the report without the long lists that only figures need."""
        return replace(self, runs=(), profiles={}, samples={}, band=None)
