"""`lora_jax.design`: from a budget to the runs that narrow the interval at a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.notebook.fitting import as_table
from lora_jax.notebook.showing import show
from lora_jax.scaling.planning.design_report import DesignReport, PlannedRun
from lora_jax.scaling.planning.known_law import law_of_runs, published_law
from lora_jax.scaling.planning.plan_design import plan_design
from lora_jax.scaling.tables.cells import with_one_rate
from lora_jax.scaling.tables.table import RunTable
from lora_jax.scaling.verdict import verdict_of

PRIOR = "besiroglu"
TARGET = 10.0  # without a target, we aim at the loss at so many times the budget


@dataclass(frozen=True)
class PlannedRuns:
    """Runs to train, and what they promise. A notebook shows it as tables.

    Attributes:
        report: Everything that was found.
    """

    report: DesignReport

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """The runs, each with n_params, n_tokens and flops."""
        return self.report.cells

    @property
    def words(self) -> str:
        """The promise in one sentence."""
        from lora_jax.report.design.rows import promise

        return promise(self.report)

    def __repr__(self) -> str:
        return f"PlannedRuns({self.words})"

    def _repr_html_(self) -> str:
        from lora_jax.report.design.rows import design_tables

        doubts = self.report.warnings
        return show(verdict_of(doubts) if doubts else None, [self.words], design_tables(self.report))


def design(
    flops: float,
    table: RunTable | str | Path | None = None,
    *,
    target: Mapping[str, float] | float | None = None,
    prior: str = PRIOR,
    noise: float | None = None,
    max_runs: int = 20,
) -> PlannedRuns:
    """Choose the runs that tell most about the loss at a target, for a budget of training FLOPs.

    Args:
        flops: The budget of all runs together, in FLOPs.
        table: Runs that are already trained. Without it, the law is the published fit `prior`.
        target: Where you want to know the loss: {"N": ..., "D": ...}, or a compute in FLOPs, which stands for
            its best N and D. The default is a compute of ten times the budget.
        prior: The published fit to use if there is no table: "besiroglu", "hoffmann", "kaplan" or "farseer".
        noise: Standard deviation of ln L between seeds. The default is that of the table's residuals, or
            0.01 without a table.
        max_runs: The largest number of runs.

    Returns:
        The runs to train, and the interval that they promise at the target.

    Raises:
        LoraJaxError: No design fits the budget, or the table cannot be read.
    """
    runs = None if table is None else with_one_rate(as_table(table))
    known = published_law(prior, noise) if runs is None else law_of_runs(runs, noise)
    aim = _aim(TARGET * flops if target is None else target)
    found = plan_design(budget_flops=flops, existing=runs, max_runs=max_runs, **aim, **vars(known))
    return PlannedRuns(found.report(() if runs is None else runs.notes))


def _aim(target: Mapping[str, float] | float) -> dict[str, Any]:
    return {"target": target} if isinstance(target, Mapping) else {"target_flops": float(target)}
