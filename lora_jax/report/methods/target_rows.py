"""The table of target sets at one budget, for the terminal and for the page."""

from lora_jax.comparison.results import MethodComparison
from lora_jax.report.kit.numbers import format_interval
from lora_jax.report.kit.tables import INTERVAL, Table


def target_rows(found: MethodComparison) -> Table | None:
    """Return a row a set of matrices, the best first; None where there is no budget that sets share."""
    targets = found.target_sets
    if targets is None or targets.budget is None:
        return None
    methods = found.by_label
    rows = []
    for one in targets.budget.sets:
        method = methods[one.label]
        rows.append(
            (
                one.name,
                str(one.rank),
                f"{one.n_trainable:,}",
                *format_interval(method.score),
                f"{method.best_rate:g}",
                str(method.n_seeds),
            )
        )
    columns = ("adapted", "rank", "trainable", found.metric, INTERVAL, "best rate", "seeds")
    note = "Mean over seeds of the test split, intervals of 95 % over seeds and test examples."
    return Table("One budget", columns, tuple(rows), frozenset({1, 2, 3, 5, 6}), note=note)
