"""Which form? Laws ranked by how well they predict larger runs, which they have not seen.

Residuals reward parameters. But we want a scaling law for what lies beyond the runs. So we fit every law to
the smaller runs and let it predict the larger ones, from several origins (origins.py). We compare the squared
errors of ln of the response, prediction by prediction (error_resampling.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.comparing import conclusions
from lora_jax.scaling.comparing.candidates import candidates, notes_of, screen, unasked
from lora_jax.scaling.comparing.comparison_report import (
    ComparisonReport,
    Cut,
    Excluded,
    HeldOut,
    Noise,
    PredictedRun,
)
from lora_jax.scaling.comparing.comparison_rows import Row, Tried, noise_of, rms, stand
from lora_jax.scaling.comparing.error_resampling import Draws, bounds_of, draw
from lora_jax.scaling.comparing.extrapolation import Extrapolation, Found, Sought, extrapolate, search
from lora_jax.scaling.comparing.origins import SHARES, Order, Split, cut, cut_largest, order_rows
from lora_jax.scaling.dealing import Done, deal
from lora_jax.scaling.fitting.objectives import Objective
from lora_jax.scaling.fitting.objectives import objective as find_objective
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.laws import LAWS, find_law
from lora_jax.scaling.laws.law import Array, Law
from lora_jax.scaling.progress import begin_step
from lora_jax.scaling.tables.run_table import RunTable

__all__ = ["Comparison", "candidates", "compare"]

MANY_ROWS = 40  # from which the largest tenth is held out too, and not the largest cell alone


@dataclass(frozen=True)
class Comparison:
    """Laws by rising `rolling_rms`. Those that could not be fitted at every origin come last.

    Attributes:
        table: The runs.
        response: The column that is predicted.
        objective: What the fits minimise.
        delta: Width of the Huber objective, if it has one.
        order: The runs by rising compute.
        origins: The splits at which every law predicts.
        largest: The split that holds out the largest cell alone.
        top: The split that holds out the largest tenth of the rows. In a small table it is the same.
        rows: The laws.
        excluded: Laws that were not compared, with reasons.
        noise: The noise of one run, if it is known.
        words: The conclusion.
    """

    table: RunTable
    response: str
    objective: str
    delta: float | None
    order: Order
    origins: tuple[Split, ...]
    largest: Split
    top: Split
    rows: tuple[Row, ...]
    excluded: tuple[Excluded, ...]
    noise: Noise | None
    words: str

    @property
    def predicted(self) -> list[tuple[int, int, float]]:
        """The predictions in the order of `Row.errors`: number of the origin, row of the table, reach."""
        return [
            (i, int(row), float(reach))
            for i, split in enumerate(self.origins)
            for row, reach in zip(split.test, split.reach, strict=True)
        ]

    def report(self) -> ComparisonReport:
        """Return the comparison as it is printed and written to comparison.json."""
        return ComparisonReport(
            rows=tuple(row.report() for row in self.rows),
            origins=tuple(_numbers(split) for split in self.origins),
            heldout=HeldOut(_numbers(self.largest), _numbers(self.top)),
            predicted=tuple(
                PredictedRun(i, self.table.run_ids[row], reach) for i, row, reach in self.predicted
            ),
            excluded=self.excluded,
            noise=self.noise,
            measure=self.order.measure,
            units=self.order.noun,
            response=self.response,
            objective=self.objective,
            delta=self.delta,
            words=self.words,
            warnings=tuple(self.table.doubts),
            notes=tuple(self.table.notes),
        )


def _numbers(split: Split) -> Cut:
    return Cut(split.share, split.n_train, len(split.test), split.farthest)


def compare(
    table: RunTable,
    laws: Sequence[str] | None = None,
    objective: str = "huber",
    *,
    response: str = "loss",
    shares: Sequence[float] = SHARES,
    weights: Array | None = None,
    delta: float | None = None,
    n_bootstrap: int = 4000,
    seed: int = 0,
) -> Comparison:
    """Fit laws to the smaller runs of a table, predict the larger runs, and rank the laws by their errors.

    Args:
        table: The runs.
        laws: Names or keys of laws. None takes all. Laws that do not suit the table are listed in `excluded`.
        objective: What the fits minimise: "huber", "l1", "squared" or "least-squares".
        response: Column to predict.
        shares: For each split, the share of the cells (or training runs) that is fitted.
        weights: Importance of each row in the fits (n,).
        delta: Width of the Huber objective. None takes the usual one.
        n_bootstrap: Bootstrap replicates behind the intervals.
        seed: Seed of the bootstrap.

    Returns:
        The laws with their errors, the best first, and the laws that were excluded.

    Raises:
        LoraJaxError: No law suits the table or can be fitted, or all rows cost the same.
    """
    table[response]
    goal = find_objective(objective, delta)
    if goal.shape == "quantile":
        raise LoraJaxError(
            f"Laws are compared by how near they come to unseen runs, and {goal.name} lies off by design:"
            " choose another objective."
        )
    order = order_rows(table, response)
    splits, largest = cut(order, shares), cut_largest(order)
    top = cut(order, (0.9,))[0] if len(table) >= MANY_ROWS else largest
    kept, excluded = screen(table, _named(laws), response, splits)
    excluded += unasked() if laws is None else []
    if not kept:
        reasons = "; ".join(f"{e.name}: {e.reason}" for e in excluded)
        raise LoraJaxError(f"{table.source} suits none of the laws ({reasons}): give more rows or columns.")
    every = list({split.n_train: split for split in (*splits, top, largest)}.values())
    tried = _try_each(kept, table, every, goal, weights)
    rows, noise, n_units = _rank(tried, table, response, order, splits, (top, largest), (n_bootstrap, seed))
    said = conclusions.overall(rows, splits, order, noise, n_units)
    return Comparison(
        table,
        response,
        goal.name,
        goal.width,
        order,
        tuple(splits),
        largest,
        top,
        tuple(rows),
        tuple(excluded),
        noise,
        said,
    )


def _try_each(
    kept: Sequence[tuple[str, Law]],
    table: RunTable,
    splits: Sequence[Split],
    goal: Objective,
    weights: Array | None,
) -> list[Tried]:
    """Return what each law does on the whole table and at every split, in the order of `kept`.

    The laws are dealt to processes, those with most parameters first: they take longest.
    """

    def work(part: tuple[str, Law], done: Done) -> tuple[Sought, Extrapolation]:
        _, law = part
        whole = search(law, table, goal, weights)
        beyond = extrapolate(law, table, splits, goal, weights)
        done(1)
        return whole.sought, beyond

    dealt = sorted(kept, key=lambda part: -len(part[1].parameters))
    answers = deal(work, dealt, begin_step(f"comparing {len(kept)} laws", len(kept)))
    found = {name: answer for (name, _), answer in zip(dealt, answers, strict=True)}
    tried = []
    for name, law in kept:
        sought, beyond = found[name]
        tried.append(Tried(name, law, Found.of(pose(law, table, goal, weights), sought), beyond))
    return tried


def _named(laws: Sequence[str] | None) -> Mapping[str, Law]:
    """Return the laws by their names on the command line."""
    if laws is None:
        return {name: law for name, law in LAWS.items() if law.compared}
    found = [find_law(name) for name in laws]
    return {next(n for n, law in LAWS.items() if law is one): one for one in found}


def _rank(
    tried: Sequence[Tried],
    table: RunTable,
    response: str,
    order: Order,
    splits: Sequence[Split],
    heldout: tuple[Split, Split],
    bootstrap: tuple[int, int],
) -> tuple[list[Row], Noise | None, int]:
    """Return the rows, best first; the noise; and how many units were predicted."""
    pooled = {t.name: t.found.pooled(splits) for t in tried}
    errors = {name: e for name, e in pooled.items() if e is not None}
    if not errors:
        reasons = "; ".join(f"{t.name}: {next(iter(t.found.failures.values()))}" for t in tried)
        raise LoraJaxError(
            f"No law can be fitted at every origin of {table.source} ({reasons}): give more rows."
        )
    best = min(errors, key=lambda name: rms(errors[name]))
    noise = noise_of(table, response, next(t.whole for t in tried if t.name == best))
    origin = np.concatenate([np.full(len(s.test), i) for i, s in enumerate(splits)])
    unit = np.concatenate([order.unit[s.test] for s in splits])
    draws, n_units = draw(origin, unit, *bootstrap), len(np.unique(unit))
    rows = []
    for t in tried:
        row = _measure(t, table, order, splits, heldout, draws)
        if row.errors is not None:
            beside = stand(row.errors, errors[best], draws, noise, max(1, len(errors) - 1), t.name == best)
            row = replace(row, standing=beside, verdict=conclusions.verdict(beside, noise, n_units, order))
        rows.append(row)
    last = float("inf")
    rows.sort(key=lambda r: (last if r.rolling_rms is None else r.rolling_rms, r.name != best))
    return rows, noise, n_units


def _measure(
    tried: Tried,
    table: RunTable,
    order: Order,
    splits: Sequence[Split],
    heldout: tuple[Split, Split],
    draws: Draws | None,
) -> Row:
    """Return the law's own numbers, and why it could not be fitted where it could not."""
    found, notes = tried.found, notes_of(tried.law, table)
    slow = [str(i + 1) for i, s in enumerate(splits) if s.n_train in found.unconverged]
    if slow:
        notes.append(f"not converged at origin {', '.join(slow)}")
    failures = {i: found.failures[s.n_train] for i, s in enumerate(splits) if s.n_train in found.failures}
    errors, (top, largest) = found.pooled(splits), heldout
    alone = found.errors.get(largest.n_train)
    samples = None if errors is None or draws is None else np.sqrt(draws.mean(errors**2))
    return Row(
        name=tried.name,
        law=tried.law,
        insample_rms=rms(tried.whole.problem.residuals(tried.whole.theta)),
        heldout_rms=found.rms(top),
        heldout_error=None if alone is None else float(np.expm1(alone.mean())),
        origin_rms=tuple(found.rms(s) for s in splits),
        rolling_rms=None if errors is None else rms(errors),
        rolling_se=None if samples is None else float(samples.std()),
        rolling_ci95=None if samples is None else bounds_of(samples),
        errors=errors,
        standing=None,
        verdict=conclusions.cannot_be_fitted(failures, splits, order) if failures else "",
        notes=tuple(notes),
    )
