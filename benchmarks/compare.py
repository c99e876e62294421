"""A run of the benchmark beside an earlier one: ratios, since seconds change with the machine's day.

A figure is worse when its median is beyond a tolerance of the earlier one and the quartiles do not overlap:
the first says that it matters, the second that it is no noise.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.figures import FORMAT, Figure, Section
from benchmarks.table import format_figure
from lora_jax.errors import LoraJaxError
from lora_jax.report.kit.tables import Table

TOLERANCE = 1.1  # between medians, a factor
Verdict = Literal["worse", "better", "same"]
Key = tuple[str, str, str]  # section, row, figure


@dataclass(frozen=True)
class Change:
    """One figure, then and now. factor: how many times as good the median is now, below 1 for worse."""

    key: Key
    before: Figure
    now: Figure

    @property
    def factor(self) -> float:
        ratio = self.now.median / self.before.median
        return ratio if self.now.better == "more" else 1 / ratio

    @property
    def verdict(self) -> Verdict:
        (low, high), (old_low, old_high) = self.now.quartiles, self.before.quartiles
        if (low <= old_high and old_low <= high) or 1 / TOLERANCE <= self.factor <= TOLERANCE:
            return "same"
        return "worse" if self.factor < 1 else "better"


def read_baseline(path: Path, device: str) -> dict[Key, Figure]:
    """Return the figures of an earlier run that can be compared, those that say which way is better.

    Raises:
        LoraJaxError: the file is missing, of another format, or of another device than this one.
    """
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise LoraJaxError(
            f"--against {path} cannot be read ({error.strerror}): name a file that --json wrote."
        ) from None
    except ValueError:
        raise LoraJaxError(f"--against {path} is no JSON: name a file that --json wrote.") from None
    if not isinstance(document, dict) or "format" not in document or "sections" not in document:
        raise LoraJaxError(f"--against {path} is no file of the benchmark: name one that --json wrote.")
    if document["format"] != FORMAT:
        raise LoraJaxError(
            f"--against {path} has format {document['format']}, this benchmark reads and writes"
            f" {FORMAT}: make it anew with --json {path}."
        )
    if document["device"] != device:
        raise LoraJaxError(
            f"--against {path} was measured on {document['device']!r} and this is {device!r}: compare"
            " with a file of this device, made by --json."
        )
    return dict(_figures(document["sections"]))


def compare(before: Mapping[Key, Figure], sections: Sequence[Section]) -> list[Change]:
    """Return every figure that both runs have, in the order of this one.

    Raises:
        LoraJaxError: they have none in common.
    """
    changes = [
        Change(key, before[key], figure)
        for section in sections
        for row in section.rows
        for figure in row.figures
        if figure.better and (key := (section.name, row.label, figure.name)) in before
    ]
    if not changes:
        raise LoraJaxError(
            f"nothing that was measured, {', '.join(s.name for s in sections)}, has a ratio in the file of"
            " --against: choose others by --only, or another file."
        )
    return changes


def find_missing(before: Mapping[Key, Figure], sections: Sequence[Section]) -> list[Key]:
    """Return the figures of the earlier run that this one, in the same sections, did not measure."""
    names = {section.name for section in sections}
    now = {
        (section.name, row.label, figure.name)
        for section in sections
        for row in section.rows
        for figure in row.figures
    }
    return [key for key in before if key[0] in names and key not in now]


def make_change_table(changes: Sequence[Change], missing: Sequence[Key]) -> Table:
    """Return what changed as a table, the worse rows flagged."""
    rows = [
        (
            ": ".join(change.key[:2]),
            change.key[2],
            format_figure(change.before),
            format_figure(change.now),
            f"{change.factor:.2f}",
            change.verdict,
        )
        for change in changes
    ]
    note = (
        f"times as good: of the medians. worse: by more than {TOLERANCE - 1:.0%}, and the quartiles do not"
        " overlap."
    )
    if missing:
        note += f" Measured then and not now: {'; '.join(', '.join(key) for key in missing)}."
    return Table(
        "Then and now",
        ("", "ratio", "then", "now", "times as good", "verdict"),
        tuple(rows),
        numeric=frozenset({2, 3, 4}),
        flagged=frozenset(i for i, change in enumerate(changes) if change.verdict == "worse"),
        note=note,
    )


def _figures(sections: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Key, Figure]]:
    for section in sections:
        for row in section["rows"]:
            for figure in row["figures"]:
                if figure["better"]:
                    bounds = (figure["at_most"], figure["at_least"])
                    found = Figure(
                        figure["name"], figure["unit"], tuple(figure["samples"]), *bounds, figure["better"]
                    )
                    yield (section["name"], row["label"], figure["name"]), found
