"""What every source gives: documents by row, read when they are asked for."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np

READ_ROWS = 64  # number of texts that are in memory together

Rows: TypeAlias = Sequence[int] | np.ndarray


def or_empty(text: str | None) -> str:
    """Return a text. "" if there is none or it is blank."""
    return text if text and not text.isspace() else ""


class Documents(Protocol):
    """Texts by row. Memory never holds a whole source."""

    def __len__(self) -> int: ...

    def read(self, rows: Rows) -> Iterator[str]:
        """Yield the texts of `rows`, which must ascend, in one pass. A text without content is ""."""
        ...


T_co = TypeVar("T_co", covariant=True)  # a document: a text, or an array of ids


class Part(Protocol[T_co]):
    """Documents of any kind by row, as `Documents` are of text."""

    def __len__(self) -> int: ...
    def read(self, rows: Rows) -> Iterator[T_co]: ...


class Chained(Generic[T_co]):
    """The documents of several parts, one part after another."""

    def __init__(self, parts: Sequence[Part[T_co]]) -> None:
        self._parts = parts

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, rows: Rows) -> Iterator[T_co]:
        """Yield the documents of `rows`, which must ascend."""
        bounds = np.searchsorted(np.asarray(rows), self._ends).tolist()
        first, start = 0, 0
        for part, last, end in zip(self._parts, bounds, self._ends.tolist(), strict=True):
            if last > first:
                yield from part.read(np.asarray(rows[first:last]) - start)
            first, start = last, end
