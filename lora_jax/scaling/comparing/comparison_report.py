"""What a comparison of laws found, as types: comparison.json, and `comparison` of fit.json.

Every field is a key of the document of the same name. `Comparison.report` makes them of what was computed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """sd of ln of the response of one run, and where it is known from."""

    sd: float
    source: str


@dataclass(frozen=True)
class Excluded:
    """A law that the table cannot be asked about, by its name on the command line, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Cut:
    """How many rows are fitted and predicted; share of the units that are fitted.

    reach: of the farthest predicted row, its compute over the largest that was fitted.
    """

    share: float
    n_train: int
    n_test: int
    reach: float


@dataclass(frozen=True)
class HeldOut:
    """largest: what holds out the largest cell alone; top: the largest tenth, the same in a small table."""

    largest: Cut
    top: Cut


@dataclass(frozen=True)
class PredictedRun:
    """One prediction: the number of its origin, the run, and its compute over the largest that was fitted."""

    origin: int
    run_id: str
    reach: float


@dataclass(frozen=True)
class RankedLaw:
    """One law: what `comparison_rows.Row` and its `Standing` say, whose fields these are.

    name: on the command line; key: such as "L(N,D)"; title: in words. n_params: of the law. errors (M,): of
    ln of the response, one a prediction. All that needs every origin is None where one could not be fitted;
    status then is "not fitted".
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
    """The laws, best first; those that could not be fitted at every origin last.

    predicted: one each of the laws' `errors`. measure: what the runs are ordered by; units: what is never
    split, in the plural. warnings: the doubts of the table; notes: its notes.
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
