"""`lora_jax.compare`: which law predicts the larger runs of a table from its smaller ones?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lora_jax.notebook.fitting import as_table
from lora_jax.notebook.showing import show
from lora_jax.scaling.comparing.comparison import compare as compare_laws
from lora_jax.scaling.comparing.comparison_report import ComparisonReport, RankedLaw
from lora_jax.scaling.tables.cells import with_one_rate
from lora_jax.scaling.tables.table import RunTable
from lora_jax.scaling.verdict import verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ComparedLaws:
    """Laws ranked by how well they predict runs that they have not seen. A notebook shows it as a table.

    Attributes:
        report: Everything that was found.
    """

    report: ComparisonReport

    @property
    def rows(self) -> tuple[RankedLaw, ...]:
        """The laws, the best first."""
        return self.report.rows

    @property
    def words(self) -> str:
        """The outcome in one sentence."""
        return self.report.words

    def plot(self) -> "Figure":
        """Draw the errors of the laws on the runs that they have not seen."""
        from lora_jax.report.fit.figures import draw_comparison

        return next(iter(draw_comparison(self.report))).figure

    def __repr__(self) -> str:
        return f"ComparedLaws({self.words})"

    def _repr_html_(self) -> str:
        from lora_jax.report.fit.rows import comparison_rows

        table, doubts = comparison_rows(self.report), self.report.warnings
        return show(verdict_of(doubts) if doubts else None, [self.words], [table] if table else [])


def compare(
    table: RunTable | str | Path,
    laws: Sequence[str] | None = None,
    *,
    objective: str = "huber",
    delta: float | None = None,
) -> ComparedLaws:
    """Rank laws by how well they predict the larger runs of a table from its smaller ones.

    Args:
        table: A table of runs: a file, a results folder, "published:NAME", or what `read_table` returns.
        laws: Names of laws, such as ["chinchilla", "kaplan"]. The default is every law for which the table
            has the columns.
        objective: What the fits minimise, as for `fit`.
        delta: Width of the Huber objective. The default is 1e-3.

    Returns:
        The laws, the best first, with `rows`, `words` and `plot`.

    Raises:
        LoraJaxError: The table cannot be read, no law can be fitted to it, or a name is unknown.
    """
    runs = with_one_rate(as_table(table))
    return ComparedLaws(compare_laws(runs, laws, objective=objective, delta=delta).report())
