"""A law or an approach, fitted to every group of a table. docs/architecture.md describes groups.json."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.scaling.optima.approach_report import ApproachReport
from lora_jax.scaling.results import FitReport


@dataclass(frozen=True)
class GroupResult:
    """What we found for one group: a law's report, an approach's report, or the reason why there is neither.

    Attributes:
        group: The group's value in each column.
        folder: Where its files lie. None if none were written.
        fit: The law's report, if a law was fitted.
        approach: The report of approach 1 or 2, if one was asked for.
        not_fitted: The reason why there is no report.
    """

    group: Mapping[str, str]
    folder: str | None = None
    fit: FitReport | None = None
    approach: ApproachReport | None = None
    not_fitted: str | None = None


@dataclass(frozen=True)
class GroupsReport:
    """All groups of a table.

    Attributes:
        by: The columns whose values make the groups.
        law: The law, as the command line named it.
        table: Where the table is from.
        groups: What we found for each group.
    """

    by: tuple[str, ...]
    law: str
    table: str
    groups: tuple[GroupResult, ...]
