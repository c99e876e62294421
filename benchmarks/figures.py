"""What the benchmark measured: figures with every repetition, in rows, in sections; as JSON."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FORMAT = 2  # of the JSON; raised when a reader of the old one would misread the new


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    at_most, at_least: what its median has to keep to, None where nothing is asked. better: which way is
    good, where a later run is to be compared with it (`compare`): for ratios, which move to another day.
    """

    name: str
    unit: str
    samples: tuple[float, ...]  # every repetition, in order
    at_most: float | None = None
    at_least: float | None = None
    better: Literal["less", "more"] | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile; of one sample, that sample."""
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return low, high

    @property
    def kept(self) -> bool | None:
        """Does the median keep to what is asked? None where nothing is."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.median <= self.at_most) and (
            self.at_least is None or self.median >= self.at_least
        )


@dataclass(frozen=True)
class Row:
    """One thing that was measured: how it was set, and its figures."""

    label: str
    settings: dict[str, Any]
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)


@dataclass(frozen=True)
class Section:
    """One table of the benchmark."""

    name: str
    title: str
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where the figures come from.

    load_average: of the last minute when it began, 0 on a quiet machine. others: cores that other processes
    kept busy on average while it ran, None where the system does not tell.
    """

    command: str
    device: str
    versions: dict[str, str]
    git_commit: str | None
    load_average: float
    others: float | None
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def to_json(provenance: Provenance, sections: Sequence[Section]) -> dict[str, Any]:
    """Return everything as plain dicts and lists, every repetition among them."""
    return {"format": FORMAT, **asdict(provenance), "sections": [_section(section) for section in sections]}


def _section(section: Section) -> dict[str, Any]:
    rows = [
        {"label": row.label, "settings": row.settings, "figures": [_figure(figure) for figure in row.figures]}
        for row in section.rows
    ]
    return {"name": section.name, "title": section.title, "note": section.note, "rows": rows}


def _figure(figure: Figure) -> dict[str, Any]:
    low, high = figure.quartiles
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": figure.median,
        "quartiles": [low, high],
        "at_most": figure.at_most,
        "at_least": figure.at_least,
        "better": figure.better,
        "kept": figure.kept,
        "samples": list(figure.samples),
    }
