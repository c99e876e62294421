"""What the benchmark measured: figures with every repetition, in rows, in sections; as JSON."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

FORMAT = 1  # of the JSON; raised when a reader of the old one would misread the new


@dataclass(frozen=True)
class Figure:
    """One measured quantity. at_most: what its median has to keep to, None where nothing is asked."""

    name: str
    unit: str
    samples: tuple[float, ...]  # every repetition, in order
    at_most: float | None = None

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
        """Does the median keep to `at_most`? None where nothing is asked."""
        return None if self.at_most is None else self.median <= self.at_most


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
    """Where the figures come from. load_average: of the last minute when it began, 0 on a quiet machine."""

    command: str
    device: str
    versions: dict[str, str]
    git_commit: str | None
    load_average: float
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
        "kept": figure.kept,
        "samples": list(figure.samples),
    }
