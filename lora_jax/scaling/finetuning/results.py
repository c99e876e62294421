"""What a table of fine-tuning runs tells, as types: finetuning.json.

Every field is the key of the same name in the document. N is the base's parameters, D its pretraining tokens,
P the parameters that a method trains, and F the size of the fine-tuning set. X is the one of N, D and P that
the law is about. These letters name places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate
from lora_jax.scaling.results import LeftOutRun
from lora_jax.scaling.verdict import Verdict

KIND = "finetuning laws"
FORMAT = 1
# identified: inside the runs, between two ends. extrapolated: outside the runs. none: the runs rule it out
# inside their range. not identified: the runs leave it open.
Found = Literal["identified", "not identified", "extrapolated", "none"]


@dataclass(frozen=True)
class Solution:
    """Where an equation holds. It is a number whose interval may be open.

    Attributes:
        value: The number. None if the equation holds nowhere.
        low: Lower end of the 95 % interval, in which the equation cannot be ruled out. None if it is open.
        high: Upper end. None if it is open.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RateChoice:
    """The learning rate of a cell.

    Attributes:
        rates: The rates that were tried, rising.
        losses: The mean loss at each rate. None if the runs diverged.
        best: The rate that was kept.
        at_edge: Whether it is the smallest or the largest of several.
    """

    rates: tuple[float, ...]
    losses: tuple[float | None, ...]
    best: float
    at_edge: bool


@dataclass(frozen=True)
class Cell:
    """The runs of a method at one place, at the best learning rate.

    Attributes:
        at: The place: those of N, D, P and F that the table has.
        loss: The geometric mean over the seeds.
        n_seeds: How many runs that is.
        rate: How the learning rate was chosen. None where the table has none.
        fitted: What the method's law says. None without a law.
    """

    at: Mapping[str, float]
    loss: float
    n_seeds: int
    rate: RateChoice | None
    fitted: float | None


@dataclass(frozen=True)
class LawFit:
    """A law on the cells of a method.

    Attributes:
        form: Which of the report's forms it is.
        formula: The law.
        params: Parameters with intervals.
        degrees_of_freedom: Cells less parameters.
        rms: The residuals' root mean square, of ln L.
        noise: The sd of ln L of a cell, by residuals and seeds.
        misfit: How far mean losses lie from the law beyond noise: sd of ln L. None where they do not, or the
            cells are too few to tell.
        misfit_chance: How probable it is that they do.
        verdict: Whether to believe it.
    """

    form: str
    formula: str
    params: Mapping[str, Estimate]
    degrees_of_freedom: int
    rms: float
    noise: float
    misfit: float | None
    misfit_chance: float | None
    verdict: Verdict


@dataclass(frozen=True)
class MethodResult:
    """A fine-tuning method: its runs, its rates and its law.

    Attributes:
        name: The value of the columns that the table is divided by.
        n_runs: Its finished runs, all rates and seeds.
        n_diverged: Runs that diverged, and are left out.
        cells: Its cells, by rising N and then F.
        n_grids: Cells with several rates.
        n_at_edge: Those whose best rate is at an edge of its grid. With any the method takes no part in
            crossovers, needs and claims.
        law: Its law by the form that was chosen. None where the runs carry none.
        no_law: Why there is none, or why it is a smaller law than was asked for.
        apart: Why it takes no part in comparisons. None where it does.
    """

    name: str
    n_runs: int
    n_diverged: int
    cells: tuple[Cell, ...]
    n_grids: int
    n_at_edge: int
    law: LawFit | None
    no_law: str | None
    apart: str | None

    @property
    def takes_part(self) -> bool:
        """Whether the method may be compared with others."""
        return self.apart is None


@dataclass(frozen=True)
class HeldOut:
    """A cell that a form predicted unseen.

    Attributes:
        what: Whether the largest F or the largest X was held out.
        at: The place.
        predicted: The loss, with the 95 % interval of a cell's mean there.
        measured: The loss that was measured.
        error: ln predicted - ln measured.
        inside: Whether the measured loss is inside the interval.
    """

    method: str
    what: Literal["F", "X"]
    at: Mapping[str, float]
    predicted: Estimate
    measured: float
    error: float
    inside: bool


@dataclass(frozen=True)
class FormScore:
    """A form of the law for all methods, and how well it predicts what it has not seen.

    Attributes:
        name: What the report calls it, such as "multiplicative, E shared".
        formula: The law of one method.
        shared: Parameters that all methods share.
        n_params: Free parameters in all.
        heldout: What it predicted. Empty where it could not be fitted without the largest.
        rms: The root mean square of the errors, over all that was held out.
        rms_by: The same by what was held out, "F" or "X".
        rms_fitted: The residuals' root mean square where all cells are fitted.
        better: The difference of its mean squared error and the first form's, over the first form's: below
            0 it is better. With its interval. None for the first form, or where it predicts less.
        chosen: Whether the laws of the report are of this form.
        missing: Why it was not fitted, or what it cannot predict.
    """

    name: str
    formula: str
    shared: tuple[str, ...]
    n_params: int
    heldout: tuple[HeldOut, ...]
    rms: float | None
    rms_by: Mapping[str, float]
    rms_fitted: float | None
    better: Estimate | None
    chosen: bool
    missing: str | None


@dataclass(frozen=True)
class Crossing:
    """Where two methods have the same loss, at one X.

    Attributes:
        at: The place besides F: "N", or whatever X is. Empty where only F varies.
        finetune_tokens: F^c, where the two laws cross.
        found: What may be said of it.
        beyond: F^c over the nearest end of the runs' F. Below 1 it lies left of them, above 1 right of them.
        above: The method that is better above F^c; without a crossing the one that is better at all F of the
            runs. None where nothing tells.
    """

    at: Mapping[str, float]
    finetune_tokens: Solution
    found: Found
    beyond: float | None
    above: str | None


@dataclass(frozen=True)
class Crossover:
    """Two methods: which is better, from how much data.

    Attributes:
        first, second: The methods.
        crossings: One at each X of the runs.
        curve: The same on a finer grid of X, to be drawn. Beyond the runs by a factor of 3 at most.
        f_range: The smallest and the largest F that both methods have.
    """

    first: str
    second: str
    crossings: tuple[Crossing, ...]
    curve: tuple[Crossing, ...]
    f_range: tuple[float, float]


@dataclass(frozen=True)
class Need:
    """What a method needs to reach a loss with a set of F.

    Attributes:
        loss: The target.
        finetune_tokens: F. None where the law has none.
        x: The least X that reaches it, without a value where the law stays above it at any X.
        beyond: X over the largest of the method's runs. Above 1 it is extrapolated. None without a value.
        costs: What a run of that size takes: "FLOPs", "seconds", "bytes of the optimizer", by a power law of
            the runs. Without those that the table lacks.
    """

    method: str
    loss: float
    finetune_tokens: float | None
    x: Solution
    beyond: float | None
    costs: Mapping[str, Solution]


@dataclass(frozen=True)
class Excess:
    """The loss of a rank over that of full fine-tuning at one place.

    Attributes:
        at: The place.
        rank: The rank.
        excess: ln L_r - ln L_full, with its interval.
        fitted: The excess by the law of the capacity.
    """

    at: Mapping[str, float]
    rank: float
    excess: Estimate
    fitted: float | None


@dataclass(frozen=True)
class Knee:
    """The rank at which the method leaves full fine-tuning's curve, at one place.

    Attributes:
        at: The place: F, and N where several were fitted.
        rank: The knee.
        found: What may be said of it.
    """

    at: Mapping[str, float]
    rank: Solution
    found: Found


@dataclass(frozen=True)
class Capacity:
    """From which F a rank is too small.

    The excess of ln L over full fine-tuning's is 0 up to F^c = c r^g N^h and k ln(F / F^c) beyond: as if the
    method stopped to learn, or learned more slowly, once it is full.

    Attributes:
        method: The method, without the rank.
        full: The method that it is measured against.
        ranks: Its ranks.
        params: k, c, g and, where several N were fitted, h. Empty where nothing was fitted.
        knees: The rank r^c at each place.
        excesses: What was measured.
        p: How probable the excesses are if no rank were ever too small. None where that cannot be tested.
        found: What may be said of the knee over all of its places: the best of them.
        missing: Why nothing was fitted.
    """

    method: str
    full: str
    ranks: tuple[float, ...]
    params: Mapping[str, Solution]
    knees: tuple[Knee, ...]
    excesses: tuple[Excess, ...]
    p: float | None
    found: Found
    missing: str | None


@dataclass(frozen=True)
class FinetuningReport:
    """Laws of fine-tuning by method: finetuning.json.

    Attributes:
        law: The law that was asked for, such as "finetuning-n".
        by: The columns that make a method.
        x: The letter of X.
        x_column, f_column: The columns that X and F are.
        loss_unit: Unit of the loss.
        task: The task, where the table says it.
        methods: In the order of the table.
        forms: The forms compared. The first is the law as published, for each method.
        form: The name of the one that was chosen.
        form_why: Why, in a sentence.
        crossovers: Of every pair of methods that may be compared.
        needs: What each method needs for each target.
        capacities: Of every method that has ranks, where the table has full fine-tuning.
        left_out: Runs that are not fitted.
        doubts: What makes less of all this than it seems.
        notes: What was done to the table, and what it does not carry.
    """

    source: str
    command: str
    law: str
    by: tuple[str, ...]
    x: Literal["N", "D", "P"]
    x_column: str
    f_column: str
    loss_unit: str
    task: str | None
    methods: tuple[MethodResult, ...]
    forms: tuple[FormScore, ...]
    form: str | None
    form_why: str
    crossovers: tuple[Crossover, ...]
    needs: tuple[Need, ...]
    capacities: tuple[Capacity, ...]
    left_out: tuple[LeftOutRun, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    kind: Literal["finetuning laws"]
    format: int

    def method(self, name: str) -> MethodResult:
        """Return one method by its name; raises KeyError for another."""
        return {m.name: m for m in self.methods}[name]
