"""Training curves against a baseline's: the steps and seconds to reach one loss."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.scaling.intervals.uncertainty import interval
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.speedups.pace import find_seconds
from lora_jax.scaling.speedups.results import FORMAT, CurveReport, CurveSpeedup, Doubt
from lora_jax.scaling.tables.last_steps import POSITIONS, simplify
from lora_jax.scaling.tables.run_table import RunTable

REPLICATES = 4000
CLOSE = 0.002  # nats: about what one run differs from the next by, where nobody says


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run, by rising step.

    Attributes:
        name: The run.
        steps: Its steps, (n,).
        losses: Its losses, (n,).
        seconds: Its seconds, (n,). None if nobody measured them.
    """

    name: str
    steps: Array
    losses: Array
    seconds: Array | None


@dataclass(frozen=True)
class CurveQuestion:
    """What is asked of curves.

    Attributes:
        loss: The loss to reach. None takes the baseline's last.
        noise: Standard deviation of the loss between seeds, from which the intervals follow. None gives no
            intervals.
        seed: Seed of the draws.
    """

    loss: float | None = None
    noise: float | None = None
    seed: int = 0


def find_step_column(table: RunTable, of: str | None) -> str:
    """Return the column of steps: the named one, or else the first one with a known name that varies.

    Raises:
        LoraJaxError: There is none.
    """
    if of is not None:
        return table.column_of(table.letter_of(of))
    known = [c for c in table.columns if simplify(table.sources.get(c, c)) in POSITIONS]
    varying = [c for c in known if np.ptp(table[c]) > 0]
    if not varying:
        raise LoraJaxError(f"{table.source} has no column of steps: name it by --of.")
    return varying[0]


def make_curve(name: str, table: RunTable, column: str, seconds: str | None) -> Curve:
    """Make a curve of the rows of one run.

    Evaluations before the first update are left out.

    Args:
        name: Its name.
        table: The evaluations.
        column: The column of steps.
        seconds: The column of seconds, or a formula of one.

    Raises:
        LoraJaxError: There are fewer than two rows, or two have one step, as those of two runs.
    """
    steps = table[column]
    order = np.argsort(steps, kind="stable")
    order = order[steps[order] > 0]
    if len(order) < 2:
        raise LoraJaxError(f"{table.source} has {len(order)} evaluations of {name}: a curve needs two.")
    same = np.flatnonzero(np.diff(steps[order]) <= 0)
    if len(same):
        raise LoraJaxError(
            f"{table.source} has two rows of {name} at {column} = {steps[order][same[0]]:g}: give the"
            " evaluations of one run, as by --where seed=0."
        )
    times = None if seconds is None else find_seconds(table, seconds)[order]
    return Curve(name, steps[order], table["loss"][order], times)


def compare_curves(
    table: RunTable, baseline: Curve, others: Sequence[Curve], question: CurveQuestion, step_name: str
) -> CurveReport:
    """Return when each curve reaches a loss, against the baseline.

    Args:
        table: Where the curves are from.
        baseline: The curve that the others are compared with.
        others: The others.
        question: The loss, and the noise.
        step_name: What steps are called.

    Raises:
        LoraJaxError: The baseline does not reach the loss, or there is nothing to compare with.
    """
    if not others:
        raise LoraJaxError(f"There is only {baseline.name}, and nothing to compare it with: give two runs.")
    loss = float(baseline.losses[-1]) if question.loss is None else question.loss
    if _reaches(baseline.losses, loss) is None:
        raise LoraJaxError(
            f"{baseline.name} never reaches a loss of {loss:g}; its lowest is {baseline.losses.min():.4f}:"
            " ask for one that it reaches."
        )
    found = tuple(
        _compare(curve, baseline, loss, question, number) for number, curve in enumerate((baseline, *others))
    )
    return CurveReport(
        source=table.source,
        command="",
        baseline=baseline.name,
        loss=loss,
        loss_unit=table.loss_unit,
        noise=question.noise,
        step_name=step_name,
        curves=found,
        doubts=tuple(_doubts(found, (baseline, *others), question)),
        notes=table.notes,
        kind="speedup of curves",
        format=FORMAT,
    )


def _reaches(losses: Array, loss: float) -> float | None:
    """Return where a curve first reaches a loss, as a fractional index; None if it never does."""
    below = np.flatnonzero(losses <= loss)
    if not len(below):
        return None
    i = int(below[0])
    if i == 0:
        return 0.0
    before, after = float(losses[i - 1]), float(losses[i])
    return i - 1 + (before - loss) / (before - after)


def _at(values: Array, index: float | None) -> float | None:
    return None if index is None else float(np.interp(index, np.arange(len(values)), values))


def _compare(
    curve: Curve, baseline: Curve, loss: float, question: CurveQuestion, number: int
) -> CurveSpeedup:
    here, there = _reaches(curve.losses, loss), _reaches(baseline.losses, loss)
    end = None if baseline.seconds is None else float(baseline.seconds[-1])
    late = curve.seconds is not None and end is not None and curve.seconds[0] <= end
    return CurveSpeedup(
        curve.name,
        float(curve.steps[-1]),
        float(curve.losses[-1]),
        None if curve.seconds is None else float(curve.seconds[-1]),
        _at(curve.steps, here),
        None if curve.seconds is None else _at(curve.seconds, here),
        _ratio(curve, baseline, "steps", (here, there), question, number),
        _ratio(curve, baseline, "seconds", (here, there), question, number),
        float(np.interp(end or 0.0, curve.seconds, curve.losses))
        if late and curve.seconds is not None
        else None,
    )


def _ratio(
    curve: Curve,
    baseline: Curve,
    what: str,
    places: tuple[float | None, float | None],
    question: CurveQuestion,
    number: int,
) -> Estimate | None:
    """Return what the baseline needs over what the curve needs, in steps or seconds."""
    mine = curve.steps if what == "steps" else curve.seconds
    theirs = baseline.steps if what == "steps" else baseline.seconds
    if mine is None or theirs is None:
        return None
    needed, spent = _at(theirs, places[1]), _at(mine, places[0])
    if needed is None or spent is None:
        return None
    value = needed / spent
    if question.noise is None or curve is baseline:
        return Estimate(value, None, None)
    return _with_noise(curve, baseline, (mine, theirs), value, question, number)


def _with_noise(
    curve: Curve,
    baseline: Curve,
    clocks: tuple[Array, Array],
    value: float,
    question: CurveQuestion,
    number: int,
) -> Estimate:
    """Return the ratio with an interval: each run's curve may lie higher or lower by the noise of seeds.

    A curve that is the higher for its seed reaches the loss where it now is lower by as much. Past its end a
    curve has no loss, and the ratio is open there.
    """
    rng = np.random.default_rng((question.seed, number))
    noise = (question.noise or 0.0) * rng.standard_normal((2, REPLICATES))
    loss = float(baseline.losses[-1]) if question.loss is None else question.loss
    # the loss to reach is the baseline's own end, which its seed moves along with its curve
    shift = noise[0] if question.loss is None else 0.0
    mine = [_at(clocks[0], _reaches(curve.losses, x)) for x in loss + shift - noise[1]]
    if question.loss is None:
        theirs: list[float | None] = [_at(clocks[1], _reaches(baseline.losses, loss))] * REPLICATES
    else:
        theirs = [_at(clocks[1], _reaches(baseline.losses, x)) for x in loss - noise[0]]
    logs = np.array([_ln_ratio(a, b) for a, b in zip(theirs, mine, strict=True)])
    if np.isnan(logs).mean() > 0.025:
        return Estimate(value, None, None)  # an end is not known
    found = interval(math.log(value), logs[~np.isnan(logs)])
    return Estimate(value, value * (found.se or 0.0), (math.exp(found.low), math.exp(found.high)))


def _ln_ratio(needed: float | None, spent: float | None) -> float:
    return math.nan if needed is None or spent is None else math.log(needed / spent)


def _doubts(found: Sequence[CurveSpeedup], curves: Sequence[Curve], question: CurveQuestion) -> list[Doubt]:
    early = [c.name for c in found[1:] if c.step is not None and c.step < c.last_step]
    said = []
    if early:
        said.append(
            Doubt(
                "uncooled",
                f"{', '.join(early)} reach the loss on the way, before the learning rate is"
                " down: a row before the end is no run of that many steps, whose own schedule would end"
                " lower. So the ratios are not those of runs of these lengths, and a curve is no law in D",
            )
        )
    never = [c.name for c in found[1:] if c.step is None]
    if never:
        said.append(
            Doubt("beyond the runs", f"{', '.join(never)} never reach the loss, so no ratio is known")
        )
    orders = _orders(found)
    if orders is not None:
        said.append(
            Doubt(
                "units",
                f"by steps the order is {orders[0]}, by seconds {orders[1]}: faster without a unit"
                " says nothing",
            )
        )
    said.append(_one_run(found, question))
    starts = [int(c.steps[0]) for c in curves]
    if len(set(starts)) > 1:
        said.append(Doubt("table", f"the curves begin at other steps ({', '.join(map(str, starts))})"))
    return said


def _orders(found: Sequence[CurveSpeedup]) -> tuple[str, str] | None:
    """Return the order of the curves by steps and by seconds where they differ."""
    reached = [c for c in found if c.step is not None and c.second is not None]
    by_steps = sorted(reached, key=lambda c: c.step or 0.0)
    by_seconds = sorted(reached, key=lambda c: c.second or 0.0)
    if by_steps == by_seconds:
        return None
    return tuple(", ".join(c.name for c in order) for order in (by_steps, by_seconds))  # pyright: ignore


def _one_run(found: Sequence[CurveSpeedup], question: CurveQuestion) -> Doubt:
    pairs = itertools.combinations(sorted(found, key=lambda c: c.last_loss), 2)
    near = min(pairs, key=lambda pair: pair[1].last_loss - pair[0].last_loss)
    gap = near[1].last_loss - near[0].last_loss
    limit = CLOSE if question.noise is None else 1.96 * math.sqrt(2) * question.noise
    words = "one run of each" + (
        ", and without --noise no interval" if question.noise is None else ": the intervals rest on --noise"
    )
    if gap < limit:
        words += f"; {near[0].name} ends {gap:.4f} below {near[1].name}, which seeds alone can do"
    return Doubt("one run", words)
