"""Questions: how a law is to be fitted, or given parameters evaluated, and what is asked of the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.appraisal import REPLICATES
from lora_jax.scaling.fitting.bounds import Ends
from lora_jax.scaling.fitting.fit import Fit, evaluate_given, fit
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.tables.cells import settle_learning_rates
from lora_jax.scaling.tables.table import RunTable


@dataclass(frozen=True)
class Questions:
    """How to fit a law, and what to ask of the answer.

    Attributes:
        objective: What the fit minimises. None takes `Law.usual_objective`.
        delta: Width of the Huber objective. None takes the usual one.
        fixed: Parameters that are held at a value instead of fitted.
        bounds: Lower and upper end of parameters, in published units. An end that is None keeps our bound.
        weights: Name of a column with standard errors of the response.
        given: Published parameters to evaluate instead of fitting (`evaluate_given`).
        halves: For each of `given`, half a unit in the last digit that was printed.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.
        predict: Places to predict the response at, each a value for every variable.
        budgets: Budgets in FLOPs to split into N* and D*.
        serve: Pairs of a loss and the number of tokens to serve at that loss.
        versus: Published fits to test against, by name or as parameters.
        rival: A second table, to find where its law crosses this one.
        rival_at: For `rival`, the values of all variables but the one in which they cross.
        compare: Whether to compare with other laws out of sample.
        figures: Whether to compute the profiles and the influence of every row, which only figures show.
    """

    objective: str | None = None
    delta: float | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, Ends] = field(default_factory=dict)
    weights: str | None = None
    given: Mapping[str, float] | None = None
    halves: Mapping[str, float] = field(default_factory=dict)
    n_bootstrap: int = REPLICATES
    seed: int = 0
    predict: Sequence[Mapping[str, float]] = ()
    budgets: Sequence[float] = ()
    serve: Sequence[tuple[float, float]] = ()
    versus: Sequence[str | Mapping[str, float]] = ()
    rival: RunTable | None = None
    rival_at: Mapping[str, float] = field(default_factory=dict)
    compare: bool = False
    figures: bool = False


def settle(table: RunTable, law: Law) -> tuple[RunTable, Sequence[str]]:
    """Return the rows that a law is fitted to, one learning rate a cell, and what the grids warn of."""
    if law.response != "loss" or not has_cells(table):
        return table, ()
    table, rates = settle_learning_rates(table)
    return table, rates.warnings


def refuse_constant_columns(table: RunTable, law: Law) -> None:
    """Raise where a variable of the law is the same in every row: no fit can say what it does."""
    for v in law.variables:
        x = table.variable(v)
        if len(x) and x.max() <= x.min() * (1 + 1e-9):
            raise LoraJaxError(
                f"{table.source} has {v} = {x[0]:.4g} in every row, which says nothing of how {law.key}"
                f" depends on it: fit a law without {v}, or fix its parameters by --fix."
            )


def fit_as_asked(table: RunTable, law: Law, questions: Questions) -> Fit:
    return fit(
        law, table, questions.objective or law.usual_objective, weights_of(table, law, questions),
        fixed=questions.fixed, delta=questions.delta, moved=questions.bounds,
    )  # fmt: skip


def evaluate_as_asked(table: RunTable, law: Law, questions: Questions) -> Fit:
    """Return the parameters that were given, as an answer to the same problem as `fit_as_asked`'s."""
    return evaluate_given(
        law, table, questions.given or {}, objective=questions.objective or law.usual_objective,
        weights=weights_of(table, law, questions), fixed=questions.fixed, delta=questions.delta,
        halves=questions.halves, moved=questions.bounds,
    )  # fmt: skip


def weights_of(table: RunTable, law: Law, questions: Questions) -> Array | None:
    """Return the importance of each row (n,) by the column of its standard error; None without one."""
    if questions.weights is None:
        return None
    relative = table[questions.weights] / table[law.response]
    if not (relative > 0).all():
        raise LoraJaxError(
            f"{table.source}, column {questions.weights!r} has standard errors that are not above 0:"
            " mend them, or fit without weights."
        )
    # the variance counts in a sum of squares, the standard deviation in one of absolute values
    squares = (questions.objective or law.usual_objective) in ("squared", "least-squares")
    return relative**-2 if squares else relative**-1


def has_cells(table: RunTable) -> bool:
    return table.has("N") and table.has("D")
