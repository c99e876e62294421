"""Every doubt about a sweep's fits once, those that matter most first."""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_jax.report.kit.page_shell import MOST_DOUBTS
from lora_jax.scaling.sweep_results import SweepReport


@dataclass(frozen=True)
class _Doubt:
    """One doubt with the laws that it is about: none where it is about the whole table."""

    laws: tuple[str, ...]
    words: str

    @property
    def line(self) -> str:
        return f"{', '.join(self.laws)}: {self.words}" if self.laws else self.words


def doubts_of(fits: SweepReport) -> list[str]:
    """Return every doubt once, with all laws that share it.

    The first are those that the verdict rests on, of different kinds: five laws that miss the runs alike
    leave room for two other doubts.
    """
    found = _collect(fits)
    order = {line: i for i, line in enumerate(fits.verdict.doubts if fits.verdict else ())}
    last = len(order)
    gravest = sorted(found, key=lambda doubt: min(order.get(line, last) for line in _lines(doubt)))
    kinds = {_kind(doubt.words): doubt for doubt in reversed(gravest)}
    first = [doubt for doubt in gravest if kinds[_kind(doubt.words)] is doubt and _is_ordered(doubt, order)]
    first = first[:MOST_DOUBTS]
    return [doubt.line for doubt in (*first, *(doubt for doubt in gravest if doubt not in first))]


def _collect(fits: SweepReport) -> list[_Doubt]:
    """Return the doubts of the held-out cell, of the table and of the laws, in the order of the document."""
    missed = ("the held-out cell is not predicted within 3 %",)
    laws: dict[str, list[str]] = {}
    for line in (*(missed if fits.heldout_cell.within_3_percent is False else ()), *fits.warnings):
        laws.setdefault(line, [])
    for line in fits.learning_rate.warnings:
        laws.setdefault(line, [])
    of_table = set(laws)
    for fit in fits.fits:
        for line in fit.certificate.warnings:
            if line not in of_table and fit.key not in laws.setdefault(line, []):
                laws[line].append(fit.key)
    return [_Doubt(tuple(keys), words) for words, keys in laws.items()]


def _lines(doubt: _Doubt) -> Sequence[str]:
    """Return a doubt as the verdict may hold it: as it is, or behind the key of one law."""
    return (doubt.words, *(f"{law}: {doubt.words}" for law in doubt.laws))


def _is_ordered(doubt: _Doubt, order: dict[str, int]) -> bool:
    return any(line in order for line in _lines(doubt))


def _kind(words: str) -> str:
    """Return how a doubt begins, whatever numbers and runs it names: "lack of", "without run"."""
    return " ".join(words.split()[:2])
