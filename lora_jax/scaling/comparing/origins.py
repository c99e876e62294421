"""Which rows to fit and which to predict: the table by rising compute, cut where a forecaster would stand.

Rolling-origin evaluation (Tashman 2000, International Journal of Forecasting 16, 437): from each of several
origins all later observations are predicted, by a law fitted to the earlier ones alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.cells import levels
from lora_jax.scaling.tables.provenance import SIX_ND, has_own_compute, noun_of_units
from lora_jax.scaling.tables.run_table import Array, RunTable

SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)  # of the units, fitted at each origin
SAME = 1e-9  # spread of a logarithm from which a column counts as varying
DESCRIBING = ("N", "D", "S", "U", "F", "P")  # letters that say what a run was; C follows from them
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """The units of a table by rising compute.

    A unit is what must not be split: a training run where the table says which rows share one
    (`RunTable.clusters`), else a cell, the rows that are equal in every variable.

    measure: what the rows are ordered by. progress (n,): its value in each row. unit (n,): number of the
    row's unit, by rising progress of its farthest row. level (units,): units of equal progress share one.
    noun: what the units are, in the plural.
    """

    measure: str
    progress: Array
    unit: Index
    level: Index
    noun: str

    @property
    def n_units(self) -> int:
        return len(self.level)


@dataclass(frozen=True)
class Split:
    """Rows to fit, and rows to predict, which all lie beyond them; share of the units that are fitted.

    Rows of a later unit that do not lie beyond the fitted ones belong to neither.
    """

    share: float
    train: Index
    test: Index
    reach: Array  # of the rows to predict: progress over the largest fitted

    @property
    def n_train(self) -> int:
        """Rows that are fitted: of the nested splits of one table, the name."""
        return len(self.train)

    @property
    def farthest(self) -> float:
        return float(self.reach.max())


def varying(table: RunTable, letters: Sequence[str] = DESCRIBING) -> list[str]:
    """Return the letters whose column the table has and whose values differ."""
    return [v for v in letters if table.has(v) and np.ptp(np.log(table.variable(v))) > SAME]


def order_rows(table: RunTable, response: str = "loss") -> Order:
    """Order a table by compute: C; the product of what varies where it has no C; else the falling response.

    Where fine-tuning tokens vary, C (of the pretraining) does not count them, and the product is taken.
    """
    measure, progress = _progress(table, response)
    noun, label = noun_of_units(table), number_cells(table)
    if table.clusters is not None:
        label = np.unique(np.asarray(table.clusters), return_inverse=True)[1].reshape(-1)
    farthest = np.full(label.max() + 1, -np.inf)
    np.maximum.at(farthest, label, progress)
    rank = np.empty(len(farthest), dtype=np.int64)
    by_progress = np.argsort(farthest, kind="stable")
    rank[by_progress] = np.arange(len(farthest))
    return Order(measure, progress, rank[label], levels(farthest[by_progress]), noun)


def _progress(table: RunTable, response: str) -> tuple[str, Array]:
    tuned = "F" in varying(table)
    if table.has("C") and not tuned:
        return "C" if has_own_compute(table) else SIX_ND, table.variable("C")
    parts = varying(table, ("N", "D", "F") if tuned else ("N", "D"))
    parts += [v for v, other in (("P", "N"), ("S", "D")) if v in varying(table) and other not in parts]
    if not parts:
        return f"1 / {response}", 1 / table[response]
    return " x ".join(parts), np.exp(sum(np.log(table.variable(v)) for v in parts))


def number_cells(table: RunTable) -> Index:
    """Return each row's cell (n,): rows that are equal (to 1%) in all that varies; without any, one a row."""
    letters = varying(table) or varying(table, ("C",))
    if not letters:
        return np.arange(len(table), dtype=np.int64)
    numbers = np.stack([levels(table.variable(v)) for v in letters], axis=1)
    return np.unique(numbers, axis=0, return_inverse=True)[1].reshape(-1)


def cut(order: Order, shares: Sequence[float] = SHARES) -> list[Split]:
    """Return the splits nearest to these shares, by rising share, each once.

    Units of equal compute are never parted, so that a table of few budgets has few origins. Raises
    LoraJaxError for shares outside (0, 1), and for rows that all cost the same.
    """
    bad = [s for s in shares if not 0 < s < 1]
    if bad or not shares:
        raise LoraJaxError(f"Origins at {list(shares)} of the rows: give shares between 0 and 1.")
    edges = _edges(order)
    nearest = [edges[int(np.abs(edges / order.n_units - s).argmin())] for s in shares]
    return [_split(order, int(k)) for k in sorted(set(nearest))]


def cut_largest(order: Order) -> Split:
    """Return the split that holds out the units of the largest compute alone."""
    return _split(order, int(_edges(order)[-1]))


def _edges(order: Order) -> Index:
    """Return how many units lie below each step of compute."""
    edges = np.flatnonzero(np.diff(order.level) > 0) + 1
    if not len(edges):
        raise LoraJaxError(
            f"All rows have the same {order.measure}, so there is nothing larger to predict: give runs of"
            " several sizes."
        )
    return edges


def _split(order: Order, k: int) -> Split:
    fitted = order.unit < k
    largest = order.progress[fitted].max()
    test = np.flatnonzero(~fitted & (order.progress > largest))
    return Split(k / order.n_units, np.flatnonzero(fitted), test, order.progress[test] / largest)
