"""`lora_jax.fit`: one law fitted to a table or to arrays. You ask the fitted object."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lora_jax.commands.table_options import renew_table
from lora_jax.errors import LoraJaxError
from lora_jax.notebook.showing import show
from lora_jax.scaling.appraisal import REPLICATES, Appraisal
from lora_jax.scaling.estimate import Parameter, Prediction
from lora_jax.scaling.laws import find_law
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.one_law import Questions, appraise_as_asked, report_of
from lora_jax.scaling.prediction.forecasts import predict_budget, predict_loss
from lora_jax.scaling.results import FitReport
from lora_jax.scaling.tables.table import RunTable, make_table, read_table
from lora_jax.scaling.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIVEN = "the arrays that were given"  # the table's name if there is no file


class Optimum(NamedTuple):
    """The split of a budget C = 6 N D that gives the least loss. Each number has its interval.

    Attributes:
        n_params: The best N.
        n_tokens: The best D.
        tokens_per_param: D / N.
        loss: The loss there.
    """

    n_params: Prediction
    n_tokens: Prediction
    tokens_per_param: Prediction
    loss: Prediction

    def __str__(self) -> str:
        return ", ".join(f"{number.quantity} = {number}" for number in self)


class Curve(NamedTuple):
    """A prediction at many places. Each array has the shape that was asked for.

    Attributes:
        value: The predicted values.
        low: The lower ends of the 95 % intervals.
        high: The upper ends.
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class FittedLaw:
    """A law fitted to runs. A notebook shows it as its verdict and its table of parameters.

    Attributes:
        questions: How it was fitted.
        appraisal: The fit, its bootstrap replicates and its doubts.
    """

    questions: Questions
    appraisal: Appraisal

    @property
    def law(self) -> Law:
        """The law."""
        return self.appraisal.fit.law

    @property
    def table(self) -> RunTable:
        """The rows that were fitted."""
        return self.appraisal.fit.problem.table

    @property
    def params(self) -> Mapping[str, Parameter]:
        """The parameters by name, each with `value`, `se`, `ci95` and `unit`."""
        return self.appraisal.params

    @property
    def verdict(self) -> Verdict:
        """Whether to believe the fit: a level and the doubts that led to it."""
        return self.report.verdict

    @cached_property
    def report(self) -> FitReport:
        """Everything that `lora-jax fit` says about the fit."""
        return report_of(self.appraisal, self.questions)

    def predict(self, **at: float) -> Prediction:
        """Predict the response at one place.

        Args:
            at: A value for every variable of the law, by its letter (N, D, C) or its column (n_params,
                n_tokens, flops).

        Returns:
            The mean response with its 95 % interval. It does not contain the noise of a single run.

        Raises:
            LoraJaxError: A variable is missing, unknown, an array, or not above 0.
        """
        self._refuse_missing(at)
        many = [name for name, value in at.items() if np.ndim(value)]
        if many:
            raise LoraJaxError(f"predict got many values of {many[0]} and is for one place: use curve.")
        return predict_loss(self.appraisal.replicates, at)[0]

    def _refuse_missing(self, at: Iterable[str]) -> None:
        missing = [v for v in self.law.variables if not {v, self.table.column_of(v)} & set(at)]
        if missing:
            names = ", ".join(f"{v} ({self.table.column_of(v)})" for v in missing)
            raise LoraJaxError(f"The prediction says nothing of {names}: give a value for each.")

    def curve(self, **at: ArrayLike) -> Curve:
        """Predict the response at many places.

        Args:
            at: As for `predict`, but arrays, which are broadcast against each other.
        """
        self._refuse_missing(at)
        values, names = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in at.values())), list(at)
        rows = [
            self.predict(**dict(zip(names, map(float, place), strict=True)))
            for place in zip(*(x.ravel() for x in values), strict=True)
        ]
        shape = values[0].shape
        ends = [row.ci95 or (np.nan, np.nan) for row in rows]
        value, low, high = [row.value for row in rows], [a for a, _ in ends], [b for _, b in ends]
        return Curve(*(np.array(x, dtype=float).reshape(shape) for x in (value, low, high)))

    def optimum(self, flops: float) -> Optimum:
        """Return the model size and the number of tokens that give the least loss at C = 6 N D = `flops`.

        Raises:
            LoraJaxError: The law is not one of the loss as a function of N and D, so it has no such optimum.
        """
        rows = {row.quantity: row for row in predict_budget(self.appraisal.replicates, flops)}
        return Optimum(rows["N*"], rows["D*"], rows["D/N"], rows["loss"])

    def plot(self) -> "Figure":
        """Draw the law through its runs.

        Raises:
            LoraJaxError: The law has no figure of its runs.
        """
        from lora_jax.report.fit.figures import draw_law

        drawing = draw_law(self.report)
        if drawing is None:
            raise LoraJaxError(f"{self.law.key} has no figure of its runs: write the report by `save`.")
        return drawing.figure

    def save(self, folder: str | Path) -> Path:
        """Write fit.json, figures/ and report.html to a folder, as `lora-jax fit --out` does.

        Returns:
            The path of the page.
        """
        from lora_jax.report.fit.page import write_fit_report
        from lora_jax.scaling.documents import write_fit

        write_fit(Path(folder) / "fit.json", self.report)
        return write_fit_report(self.report, folder)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={row.value:.4g}" for name, row in self.params.items())
        return f"FittedLaw({self.law.key}: {numbers}; {self.verdict.level})"

    def _repr_html_(self) -> str:
        from lora_jax.report.fit import rows
        from lora_jax.report.fit.conclusions import describe

        return show(self.verdict, describe(self.report), [rows.parameter_rows(self.report)])


def fit(
    law: str | Law,
    table: RunTable | str | Path | None = None,
    *,
    objective: str | None = None,
    fixed: Mapping[str, float] | None = None,
    n_bootstrap: int = REPLICATES,
    seed: int = 0,
    **columns: Iterable[float],
) -> FittedLaw:
    """Fit a scaling law, with intervals and a verdict.

        lj.fit("chinchilla", n_params=N, n_tokens=D, loss=L)
        lj.fit("chinchilla", lj.read_table("runs.csv"))

    Args:
        law: The name of a law, such as "chinchilla" (`lora_jax.LAWS` has all), or a Law.
        table: A table of runs: a file, a results folder, "published:NAME", or what `read_table` returns.
        objective: What the fit minimises. "huber" is the sum of the Huber losses of the log residuals, "l1"
            of their sizes, and "squared" of their squares. "least-squares" is the sum of squared residuals of
            the response itself. The default is the usual one of the law.
        fixed: Parameters that are held at a value instead of fitted, such as {"E": 1.7}.
        n_bootstrap: Number of bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.
        columns: Columns in place of a table, with one value for each run: n_params, n_tokens, flops, and loss
            in nats per token. If one of the first three is missing, it is derived by flops = 6 n_params
            n_tokens.

    Returns:
        The fitted law. It has `params`, `verdict`, `predict`, `optimum`, `plot` and `save`.

    Raises:
        LoraJaxError: The table cannot be read, lacks a column, or has too few rows for the law.
    """
    if (table is None) == (not columns):
        raise LoraJaxError(
            "A law is fitted to a table or to columns: give one of them, such as n_params=N, n_tokens=D,"
            " loss=L."
        )
    found = find_law(law) if isinstance(law, str) else law
    runs = make_table(GIVEN, None, **columns) if table is None else as_table(table)
    asked = Questions(objective=objective, fixed=fixed or {}, n_bootstrap=n_bootstrap, seed=seed)
    return FittedLaw(asked, appraise_as_asked(runs, found, asked))


def as_table(table: RunTable | str | Path) -> RunTable:
    """Return the table. A path is read. The table of a results folder is brought up to date first."""
    if isinstance(table, RunTable):
        return table
    renew_table(Path(table))
    return read_table(table)
