"""RunTable: one row a run, columns as arrays."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import NATS, VARIABLES

Array = NDArray[np.float64]
Row = Mapping[str, str]


@dataclass(frozen=True)
class LeftOut:
    """A run that is not fitted, why, and its cells by the names used here."""

    run_id: str
    reason: str
    row: Row


@dataclass(frozen=True)
class RunTable:
    """Runs as columns.

    columns: name -> (n,) float64: N in parameters, D in tokens, C in FLOPs, `loss` in loss_unit.
    n_column and flops_column say which convention the laws' N and C read.
    clusters: per row, a label that the rows of one training run share (a bootstrap draws them together), or
    None where every row is a run of its own.
    """

    source: str
    run_ids: tuple[str, ...]
    columns: Mapping[str, Array]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    n_column: str = "n_params"
    flops_column: str = "flops"
    loss_unit: str = NATS
    clusters: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.run_ids)

    def __getitem__(self, name: str) -> Array:
        if name not in self.columns:
            raise LoraJaxError(
                f"{self.source} has no column {name!r}{nearest(name, self.columns)}: add or map it."
            )
        return self.columns[name]

    def column_of(self, letter: str) -> str:
        """Return the name of the column that a law's letter stands for, as "N" or "F" (`VARIABLES`)."""
        if letter not in VARIABLES:
            raise LoraJaxError(
                f"Variable {letter!r} means nothing here{nearest(letter, VARIABLES)}: use one."
            )
        return {"N": self.n_column, "C": self.flops_column}.get(letter, VARIABLES[letter])

    def variable(self, letter: str) -> Array:
        """Return the column (n,) that a law's letter stands for; raises LoraJaxError where there is none."""
        return self[self.column_of(letter)]

    def has(self, letter: str) -> bool:
        return self.column_of(letter) in self.columns

    def take(self, index: Iterable[int] | np.ndarray) -> "RunTable":
        """Return the rows of an index array or a boolean mask; `left_out` stays."""
        rows = np.asarray(index if isinstance(index, np.ndarray) else list(index))
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        columns = {name: values[rows] for name, values in self.columns.items()}
        clusters = None if self.clusters is None else tuple(self.clusters[i] for i in rows)
        return replace(self, run_ids=tuple(self.run_ids[i] for i in rows), columns=columns, clusters=clusters)

    def without(self, mask: np.ndarray, reason: str) -> "RunTable":
        """Return the table without the rows of the mask, which join `left_out` for this reason."""
        gone = tuple(
            LeftOut(self.run_ids[i], reason, {k: repr(float(v[i])) for k, v in self.columns.items()})
            for i in np.flatnonzero(mask)
        )
        return replace(self.take(~np.asarray(mask)), left_out=self.left_out + gone)

    def using(self, *, n_column: str, flops_column: str) -> "RunTable":
        """Return the table with these conventions of N and C."""
        for name in (n_column, flops_column):
            self[name]
        return replace(self, n_column=n_column, flops_column=flops_column)
