"""What low-rank adaptation is claimed to do, beside what a study measured, as types."""

from dataclasses import dataclass
from typing import Literal

from lora_jax.estimate import Estimate

Found = Literal["held", "not told apart", "refuted", "not reachable at this scale"]
Scale = Literal["ratio", "percent", "share"]  # how a number is written


@dataclass(frozen=True)
class Band:
    """The range in which a number must lie for a claim to hold. None is an open end."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class Claim:
    """A part of a claim of "LoRA Without Regret", and what the runs say about it.

    Attributes:
        number: The claim, as docs/finetuning-laws.md counts them.
        claim: The part of the claim, a sentence.
        measured: What the number is.
        scale: How the number is written. Differences of ln loss are "percent".
        value: The number with its 95 % interval. None if it was not measured.
        band: The claim holds if the whole interval lies inside. It is refuted if all of it lies outside.
        found: The conclusion.
        why: Why it was not measured, or what limits it. It may be empty.
        interval: How the interval was made.
        n_cells: Cells or runs that took part.
        n_at_edge: Cells that did not, because a best rate is at an edge of its grid.
    """

    number: int
    claim: str
    measured: str
    scale: Scale
    value: Estimate | None
    band: Band
    found: Found
    why: str
    interval: str
    n_cells: int
    n_at_edge: int


def judge(value: Estimate, band: Band) -> Found:
    """Return what an interval says about a claim that holds inside the band."""
    low = -float("inf") if band.low is None else band.low
    high = float("inf") if band.high is None else band.high
    if low <= value.low and value.high <= high:
        return "held"
    if value.high < low or value.low > high:
        return "refuted"
    return "not told apart"
