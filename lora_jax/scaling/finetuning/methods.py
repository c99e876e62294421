"""The runs of each fine-tuning method: one learning rate for each cell, and a row for each cell."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_jax.scaling.finetuning.results import Cell, RateChoice
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.best_rows import number_of_cell
from lora_jax.scaling.tables.cells import (
    UNSEEDED,
    SeedNoise,
    average_rows,
    levels,
    noise_between,
    rows_of_each,
    runs_that_failed,
)
from lora_jax.scaling.tables.groups import Group, rows_by
from lora_jax.scaling.tables.run_table import RunTable

RATE = "base_learning_rate"
BATCH = "batch_size"
LESS_GOOD = "another learning rate of its cell is better, or it has another batch size"
SAME_CELL = 0.02  # of ln of a place: a failed run belongs to the cell that is so near


@dataclass(frozen=True)
class MethodRuns:
    """The runs of one method.

    Attributes:
        name: What answers call it.
        runs: Its runs at the best learning rate of each cell.
        cells: One row for each cell: the geometric mean over the seeds.
        seeds: Runs behind each row of `cells`, (n,).
        noise: The noise of one run, between seeds.
        choices: How the rate of each cell was chosen, in the order of `cells`. None if there are no rates.
        n_all: Its finished runs at all rates.
        n_failed: Runs that diverged or were halted.
    """

    name: str
    runs: RunTable
    cells: RunTable
    seeds: np.ndarray
    noise: SeedNoise
    choices: tuple[RateChoice | None, ...]
    n_all: int
    n_failed: int

    @property
    def n_at_edge(self) -> int:
        """Cells whose best rate is at an edge of its grid."""
        return sum(choice is not None and choice.at_edge for choice in self.choices)

    @property
    def n_grids(self) -> int:
        """Cells with several rates."""
        return sum(choice is not None and len(choice.rates) > 1 for choice in self.choices)

    @property
    def noise_of_cells(self) -> SeedNoise:
        """The noise of a row of `cells`, which is a mean over seeds."""
        if self.noise.sd is None:
            return UNSEEDED
        return replace(self.noise, sd=self.noise.sd * float(np.sqrt(np.mean(1 / self.seeds))))

    def describe(self, letters: Sequence[str], fitted: Array | None = None) -> tuple[Cell, ...]:
        """Return the cells by rising X and F, with their places by these letters."""
        order = np.lexsort([self.cells.variable(v) for v in reversed(letters)]) if letters else [0]
        return tuple(
            Cell(
                {v: float(self.cells.variable(v)[i]) for v in letters},
                float(self.cells["loss"][i]),
                int(self.seeds[i]),
                self.choices[i],
                None if fitted is None else float(fitted[i]),
            )
            for i in map(int, order)
        )


def split_methods(table: RunTable, by: Sequence[str], letters: Sequence[str]) -> list[MethodRuns]:
    """Return the runs of each method, in the order of the table.

    Args:
        table: The runs of one task.
        by: The columns that make a method.
        letters: What tells the cells of a method apart, as "N", "F".

    Raises:
        LoraJaxError: A column of `by` does not exist.
    """
    failed: dict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for gone in runs_that_failed(table):
        failed[tuple(gone.row.get(c, "").strip() for c in by)].append(gone.row)
    return [
        _make_method(group, table.take(rows), letters, failed[group.values])
        for group, rows in rows_by(table, by).items()
    ]


def _make_method(
    group: Group, table: RunTable, letters: Sequence[str], failed: Sequence[Mapping[str, str]]
) -> MethodRuns:
    numbers = number_of_cell(table, letters) if letters else np.zeros(len(table), dtype=int)
    kept, choices = [], []
    for rows in rows_of_each(numbers):
        place = {v: float(table.variable(v)[rows[0]]) for v in letters}
        lost = _lost_rates(table, place, failed)
        best, choice = _choose_rate(table, _of_one_batch(table, rows), lost)
        kept.append(best)
        choices.append(choice)
    best_rows = np.concatenate(kept)
    dropped = np.ones(len(table), dtype=bool)
    dropped[best_rows] = False
    cells = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
    runs = table.take(best_rows)
    noise = noise_between(runs, cells) if "seed" in runs.columns else UNSEEDED
    means = replace(average_rows(runs, cells), clusters=None)
    return MethodRuns(
        ", ".join(group.values),
        replace(runs, left_out=table.without(dropped, LESS_GOOD).left_out),
        means,
        np.bincount(cells).astype(float),
        noise,
        tuple(choices),
        len(table),
        len(failed),
    )


def _of_one_batch(table: RunTable, rows: np.ndarray) -> np.ndarray:
    """Return the rows of a cell at one batch size: the method's most common, else the cell's.

    Another batch size is another treatment, and no repeat.
    """
    if BATCH not in table.columns:
        return rows
    batch = table[BATCH]
    for among in (batch, batch[rows]):
        values, counts = np.unique(among, return_counts=True)
        kept = rows[batch[rows] == values[counts.argmax()]]
        if len(kept):
            return kept
    return rows


def _choose_rate(table: RunTable, rows: np.ndarray, lost: set[float]) -> tuple[np.ndarray, RateChoice | None]:
    """Return the rows of a cell at its best rate.

    The mean of ln L at each rate decides, over the seeds that have the most rates: the luckiest of many seeds
    must not make a rate look better than it is.
    """
    if RATE not in table.columns:
        return rows, None
    rate, log_loss = table[RATE][rows], np.log(table["loss"][rows])
    level = levels(rate)
    seed = table["seed"][rows] if "seed" in table.columns else np.zeros(len(rows))
    rates_of_seed = {s: len(set(level[seed == s])) for s in set(seed.tolist())}
    judged = np.isin(seed, [s for s, n in rates_of_seed.items() if n == max(rates_of_seed.values())])
    means = {k: float(log_loss[judged & (level == k)].mean()) for k in sorted(set(level[judged].tolist()))}
    best = min(means, key=lambda k: means[k])
    value = {k: float(rate[level == k][0]) for k in means}
    losses: dict[float, float | None] = {value[k]: float(np.exp(mean)) for k, mean in means.items()}
    for gone in lost:
        if not any(abs(np.log(gone / known)) < SAME_CELL for known in losses):
            losses[gone] = None
    tried = sorted(losses)
    at_edge = len(tried) > 1 and value[best] in (tried[0], tried[-1])
    return rows[level == best], RateChoice(
        tuple(tried), tuple(losses[r] for r in tried), value[best], at_edge
    )


def _lost_rates(
    table: RunTable, place: Mapping[str, float], failed: Sequence[Mapping[str, str]]
) -> set[float]:
    """Return the rates at which runs of a place failed."""
    found: set[float] = set()
    for row in failed:
        try:
            rate = float(row.get(RATE) or row["learning_rate"])
            away = [abs(np.log(float(row[table.column_of(v)]) / x)) for v, x in place.items()]
        except (KeyError, ValueError, ZeroDivisionError):
            continue  # a table of others may not say what a failed run was
        if max(away, default=0.0) < SAME_CELL:
            found.add(rate)
    return found
