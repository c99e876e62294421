"""Which rows to fit and which to predict: the table by rising compute, cut where a forecaster would stand.

This is rolling-origin evaluation (Tashman 2000, International Journal of Forecasting 16, 437). From each of
several origins a law that is fitted to the earlier observations predicts all later ones.
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

    A unit must not be split. It is a training run if the table says which rows share one
    (`RunTable.clusters`). Otherwise it is a cell: the rows that are equal in every variable.

    Attributes:
        measure: What the rows are ordered by.
        progress: The value of the measure in each row, (n,).
        unit: Number of the row's unit, (n,). Units are numbered by rising progress of their farthest row.
        level: Number of the unit's compute level, (units,). Units of equal progress share one.
        noun: What the units are, in the plural.
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
    """Rows to fit, and rows to predict, which all lie beyond them.

    Rows of a later unit that do not lie beyond the fitted ones belong to neither.

    Attributes:
        share: Share of the units that are fitted.
        train: Rows to fit.
        test: Rows to predict.
        reach: Progress of each row to predict over the largest that is fitted.
    """

    share: float
    train: Index
    test: Index
    reach: Array  # of the rows to predict: progress over the largest fitted

    @property
    def n_train(self) -> int:
        """Number of rows that are fitted. It names a split among the nested splits of a table."""
        return len(self.train)

    @property
    def farthest(self) -> float:
        return float(self.reach.max())


def varying(table: RunTable, letters: Sequence[str] = DESCRIBING) -> list[str]:
    """Return the letters whose column the table has and whose values differ."""
    return [v for v in letters if table.has(v) and np.ptp(np.log(table.variable(v))) > SAME]


def order_rows(table: RunTable, response: str = "loss") -> Order:
    """Order the rows of a table by compute.

    Compute is C, or the product of what varies if there is no C, or else the falling response. If fine-tuning
    tokens vary, the product is taken, because C (of the pretraining) does not count them.
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
    """Return the number of each row's cell, (n,).

    A cell is the rows that are equal, to 1 %, in all that varies. If nothing varies, each row is a cell.
    """
    letters = varying(table) or varying(table, ("C",))
    if not letters:
        return np.arange(len(table), dtype=np.int64)
    numbers = np.stack([levels(table.variable(v)) for v in letters], axis=1)
    return np.unique(numbers, axis=0, return_inverse=True)[1].reshape(-1)


def cut(order: Order, shares: Sequence[float] = SHARES) -> list[Split]:
    """Return the splits nearest to these shares, by rising share, each once.

    Units of equal compute are never parted. So a table of few budgets has few origins.

    Raises:
        LoraJaxError: A share is not between 0 and 1, or all rows cost the same.
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
