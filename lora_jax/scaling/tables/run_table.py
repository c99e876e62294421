"""RunTable: training runs, one row for each, with columns as arrays."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.scaling.tables.columns import N_COLUMNS, NATS, PRETRAINING, VARIABLES
from lora_jax.scaling.tables.number_text import read_number

Array = NDArray[np.float64]
Row = Mapping[str, str]
SHOWN = 3  # how many cells a message names
UNITS = {
    "parameters": (*N_COLUMNS, "trainable_params"),
    "tokens": ("n_tokens", "unique_tokens", "finetune_tokens", PRETRAINING),
    "FLOPs": ("flops", "flops_exact"),
}


@dataclass(frozen=True)
class LeftOut:
    """A run that is not fitted.

    Attributes:
        run_id: Its name.
        reason: Why it is left out.
        row: Its cells, by our names.
    """

    run_id: str
    reason: str
    row: Row


@dataclass(frozen=True)
class RunTable:
    """Training runs as columns, one row for each of n runs.

    Attributes:
        source: Where the runs come from, for messages.
        run_ids: The name of each row.
        columns: Columns of numbers by name, (n,) in float64. N is in parameters, D in tokens, C in FLOPs, and
            `loss` in `loss_unit`.
        left_out: Rows that were left out, each with a reason.
        notes: What was done to the table, in words.
        n_column: The column that laws read as N.
        flops_column: The column that laws read as C.
        loss_unit: Unit of the loss.
        clusters: A label for each row. Rows of one training run share it, and a bootstrap draws them
            together. None if every row is a run of its own.
        cluster_column: The column that the labels come from, if there is one.
        unit_told: Whether the file or its reader gave the unit of the loss. False if it was assumed.
        labels: Columns of text by name, (n,).
        sources: For a column, its name in the file.
        formulas: For a derived column, its formula, such as "6 n_params n_tokens".
        doubts: What is wrong with the table, whatever law is fitted. Every verdict begins with it.
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
    cluster_column: str = ""
    unit_told: bool = True
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.run_ids)

    def __getitem__(self, name: str) -> Array:
        """Return a column of numbers, (n,).

        Raises:
            LoraJaxError: There is no such column, or it holds text.
        """
        if name not in self.columns and name in self.labels:
            raise LoraJaxError(self._not_numbers(name))
        if name not in self.columns:
            raise LoraJaxError(
                f"{self.source} has no column {name!r}{nearest(name, self.columns)}: add or map it."
            )
        return self.columns[name]

    def _not_numbers(self, name: str) -> str:
        """Return the message for a column that was read as text. It names the first faulty cells."""
        bad = [i for i, cell in enumerate(self.labels[name]) if read_number(cell) is None]
        shown = ", ".join(f"{self.run_ids[i]} {self.labels[name][i]!r}" for i in bad[:SHOWN])
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        return (
            f"{self.source}, column {name!r} has {shown}{more}, not numbers: mend them, or leave these rows"
            f" out, as by --where '{name}>0'."
        )

    def column_of(self, letter: str) -> str:
        """Return the name of the column that a law's letter stands for, such as "N" or "F" (`VARIABLES`).

        A column's own name stands for itself. D is `pretraining_tokens` if the table has that column. Then
        n_tokens counts what fine-tuning saw.

        Raises:
            LoraJaxError: The letter is unknown.
        """
        if letter not in VARIABLES:
            if letter in self.columns:
                return letter
            raise LoraJaxError(
                f"Variable {letter!r} means nothing here{nearest(letter, VARIABLES)}: use one."
            )
        chosen = {"N": self.n_column, "C": self.flops_column}
        if PRETRAINING in self.columns:
            chosen["D"] = PRETRAINING
        return chosen.get(letter, VARIABLES[letter])

    def letter_of(self, name: str) -> str:
        """Return the letter of a column, such as "C" of "flops". If it has none, return the column's name.

        Raises:
            LoraJaxError: The name is neither a letter nor a column of the table.
        """
        if name not in VARIABLES:
            self[name]
        letters = (letter for letter in VARIABLES if self.column_of(letter) == name)
        return name if name in VARIABLES else next(letters, name)

    def unit_of(self, column: str) -> str:
        """Return the unit in which a column counts, "" if the table does not know it."""
        if column == "loss":
            return self.loss_unit
        return next((unit for unit, names in UNITS.items() if column in names), "")

    def variable(self, letter: str) -> Array:
        """Return the column that a law's letter stands for, (n,).

        Raises:
            LoraJaxError: There is no such column.
        """
        return self[self.column_of(letter)]

    def has(self, letter: str) -> bool:
        """Return whether the table has the column that a law's letter stands for."""
        return self.column_of(letter) in self.columns

    def take(self, index: Iterable[int] | np.ndarray) -> "RunTable":
        """Return the table with some of its rows. `left_out` stays as it is.

        Args:
            index: Numbers of the rows, or a boolean mask.
        """
        rows = np.asarray(index if isinstance(index, np.ndarray) else list(index))
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(int)
        columns = {name: values[rows] for name, values in self.columns.items()}
        clusters = None if self.clusters is None else tuple(self.clusters[i] for i in rows)
        ids = tuple(self.run_ids[i] for i in rows)
        labels = {name: tuple(values[i] for i in rows) for name, values in self.labels.items()}
        return replace(self, run_ids=ids, columns=columns, clusters=clusters, labels=labels)

    def without(self, mask: np.ndarray, reason: str) -> "RunTable":
        """Return the table without some of its rows, which join `left_out`.

        Args:
            mask: True for the rows to leave out, (n,).
            reason: Why they are left out.
        """
        gone = tuple(
            LeftOut(self.run_ids[i], reason, {k: repr(float(v[i])) for k, v in self.columns.items()})
            for i in np.flatnonzero(mask)
        )
        return replace(self.take(~np.asarray(mask)), left_out=self.left_out + gone)

    def using(self, *, n_column: str, flops_column: str) -> "RunTable":
        """Return the table with other columns as N and C.

        Raises:
            LoraJaxError: There is no such column.
        """
        for name in (n_column, flops_column):
            self[name]
        return replace(self, n_column=n_column, flops_column=flops_column)
