"""`lora_jax.finetuning_laws`: laws of fine-tuning by method, from your own table of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lora_jax.commands.table_options import renew_table
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.notebook.showing import show
from lora_jax.scaling.finetuning.results import Capacity, Crossover, FinetuningReport, MethodResult, Need
from lora_jax.scaling.finetuning.study import REPLICATES, Inquiry, analyse
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.table import read_table
from lora_jax.scaling.verdict import verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MethodLaws:
    """Laws of fine-tuning by method. A notebook shows them as tables, with the doubts.

    Attributes:
        report: Everything that was found.
    """

    report: FinetuningReport

    @property
    def crossovers(self) -> tuple[Crossover, ...]:
        """Where every two methods cross."""
        return self.report.crossovers

    @property
    def capacities(self) -> tuple[Capacity, ...]:
        """The set size F from which each rank is too small."""
        return self.report.capacities

    @property
    def needs(self) -> tuple[Need, ...]:
        """The size of the base that each method needs to reach a loss."""
        return self.report.needs

    def __getitem__(self, name: str) -> MethodResult:
        """Return the law of one method."""
        known = {m.name: m for m in self.report.methods}
        if name not in known:
            raise LoraJaxError(
                f"No method is called {name!r}{nearest(name, known)}: take one of {list(known)}."
            )
        return known[name]

    def plot(self) -> "Figure | None":
        """Draw the loss against F by method. None if F does not vary."""
        from lora_jax.report.finetuning.law_plots import plot_laws

        return plot_laws(self.report)

    def plot_crossovers(self) -> "Figure | None":
        """Draw where two methods cross, against X. None if they do not cross."""
        from lora_jax.report.finetuning.law_plots import plot_crossovers

        return plot_crossovers(self.report)

    def __repr__(self) -> str:
        from lora_jax.report.finetuning.law_conclusions import summarise

        return f"MethodLaws({' '.join(summarise(self.report))})"

    def _repr_html_(self) -> str:
        from lora_jax.report.finetuning.law_conclusions import summarise
        from lora_jax.report.finetuning.law_rows import all_rows

        return show(verdict_of(self.report.doubts), summarise(self.report), all_rows(self.report))


def finetuning_laws(
    table: Any,
    *,
    x: Literal["N", "D", "P"] = "N",
    by: str | Sequence[str] = "method",
    methods: Sequence[str] = (),
    targets: Sequence[float] = (),
    n_bootstrap: int = REPLICATES,
) -> MethodLaws:
    """Fit L = A X^-alpha F^-beta + E to each method of a table of fine-tuning runs, and compare the methods.

    F is the size of the training set in tokens.

    Args:
        table: A results folder or a file, what `read_table` returns, or a data frame or dictionary. Its
            columns are n_params, finetune_tokens, loss and those of `by`. It may also have learning_rate,
            seed, rank, pretraining_tokens and trainable_params.
        x: What X is: "N" for the size of the base, "D" for its pretraining tokens, "P" for the trained
            parameters.
        by: The column or columns that tell methods apart.
        methods: The methods whose laws are compared, to find where they cross. The default is all.
        targets: Losses. The result says what size of base each method needs to reach them.
        n_bootstrap: Number of bootstrap replicates behind the intervals.

    Returns:
        The law of each method with intervals, where methods cross, the capacity of each rank, and doubts.

    Raises:
        LoraJaxError: The losses cannot be compared, or a column does not exist.
    """
    columns = (by,) if isinstance(by, str) else tuple(by)
    asked = Inquiry(
        f"finetuning-{x.lower()}",
        columns,
        tuple(methods),
        tuple(targets),
        n_bootstrap,
        command="lora_jax.finetuning_laws",
    )
    return MethodLaws(analyse(_as_table(table), asked))


def _as_table(table: Any) -> RunTable:
    if isinstance(table, RunTable):
        return table
    if isinstance(table, str | Path):
        renew_table(Path(table))
        return read_table(table)
    return _from_columns(table)


def _from_columns(frame: Mapping[str, Any]) -> RunTable:
    """Return the table of a data frame or a dictionary of columns. It is read as its CSV would be."""
    import csv
    import tempfile

    columns = {str(name): np.asarray(frame[name]).tolist() for name in frame}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise LoraJaxError(f"The columns have {sorted(lengths)} rows: give all the same number.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for row in zip(*columns.values(), strict=True):
                writer.writerow(["" if x is None or x != x else x for x in row])
        found = read_table(path)
    from dataclasses import replace

    return replace(found, source="the columns that were given")
