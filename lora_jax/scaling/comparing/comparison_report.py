"""What a comparison of laws found, as types: comparison.json, and `comparison` of fit.json.

Every field is the key of the same name in the document. `Comparison.report` makes them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """The noise of one run.

    Attributes:
        sd: Standard deviation of ln of the response.
        source: How it is known.
    """

    sd: float
    source: str


@dataclass(frozen=True)
class Excluded:
    """A law that the table cannot be asked about.

    Attributes:
        name: Its name on the command line.
        reason: Why.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Cut:
    """A split of the table into rows to fit and rows to predict.

    Attributes:
        share: Share of the units that are fitted.
        n_train: Rows that are fitted.
        n_test: Rows that are predicted.
        reach: Compute of the farthest predicted row over the largest compute that was fitted.
    """

    share: float
    n_train: int
    n_test: int
    reach: float


@dataclass(frozen=True)
class HeldOut:
    """The two splits that hold out the largest runs.

    Attributes:
        largest: Holds out the largest cell alone.
        top: Holds out the largest tenth of the rows. In a small table it is the same.
    """

    largest: Cut
    top: Cut


@dataclass(frozen=True)
class PredictedRun:
    """One prediction.

    Attributes:
        origin: Number of its origin.
        run_id: The run.
        reach: Compute of the run over the largest compute that was fitted.
    """

    origin: int
    run_id: str
    reach: float


@dataclass(frozen=True)
class RankedLaw:
    """One law of a ranking. The fields are those of `comparison_rows.Row` and its `Standing`.

    Fields that need every origin are None if the law could not be fitted at one of them. The status is then
    "not fitted".

    Attributes:
        name: The law's name on the command line.
        key: A short name, such as "L(N,D)".
        title: The law in words.
        n_params: Number of the law's parameters.
        errors: Errors of ln of the response, (M,), one for each prediction.
    """

    name: str
    key: str
    title: str
    formula: str
    n_params: int
    insample_rms: float
    heldout_rms: float | None
    heldout_error: float | None
    origin_rms: tuple[float | None, ...]
    rolling_rms: float | None
    rolling_se: float | None
    rolling_ci95: tuple[float, float] | None
    difference: float | None
    difference_ci95: tuple[float, float] | None
    excess: float | None
    excess_ci95: tuple[float, float] | None
    below_noise: bool | None
    status: str
    verdict: str
    notes: tuple[str, ...]
    errors: tuple[float, ...] | None


@dataclass(frozen=True)
class ComparisonReport:
    """A ranking of laws, the best first. Laws that could not be fitted at every origin come last.

    Attributes:
        predicted: The predictions that the laws' `errors` belong to, in the same order.
        measure: What the runs are ordered by.
        units: What is never split, in the plural.
        warnings: Doubts about the table.
        notes: The table's notes.
    """

    rows: tuple[RankedLaw, ...]
    origins: tuple[Cut, ...]
    heldout: HeldOut
    predicted: tuple[PredictedRun, ...]
    excluded: tuple[Excluded, ...]
    noise: Noise | None
    measure: str
    units: str
    response: str
    objective: str
    delta: float | None
    words: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
