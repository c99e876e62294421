"""A law, or an approach, on every group of a table: docs/architecture.md, groups.json."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.scaling.optima.approach_report import ApproachReport
from lora_jax.scaling.results import FitReport


@dataclass(frozen=True)
class GroupResult:
    """What was found for one group: a law's report, an approach's report, or why there is neither.

    Attributes:
        group: The group's value in each column.
        folder: Where its files lie. None if none were written.
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
        law: The law, as it was named on the command line.
    """

    by: tuple[str, ...]
    law: str
    table: str
    groups: tuple[GroupResult, ...]
