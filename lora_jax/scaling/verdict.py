"""Verdicts: whether to believe an answer, as a value. Every fit, sweep and approach follows one rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# How the certificate's gravest reasons begin. They come first in a verdict.
NOT_CONVERGED = "not converged"
UNDETERMINED = "undetermined"  # the choice of runs leaves parameters open, whatever the losses


class Level(StrEnum):
    """How far you may believe an answer. The values are the words for it."""

    BELIEVE = "believe it"
    BE_CAREFUL = "be careful"
    DO_NOT_BELIEVE = "do not believe it"


@dataclass(frozen=True)
class Verdict:
    """How far to trust an answer.

    Attributes:
        level: Believe it, be careful, or do not believe it.
        doubts: The reasons, the gravest first. Empty if you can believe the answer.
    """

    level: Level
    doubts: tuple[str, ...]

    @property
    def is_believed(self) -> bool:
        """Whether the level is "believe it"."""
        return self.level is Level.BELIEVE

    @property
    def words(self) -> str:
        """The level and all doubts in one line, such as "be careful: weakly identified: B"."""
        return f"{self.level}: {'; '.join(self.doubts)}" if self.doubts else str(self.level)


def verdict_of(doubts: Sequence[str], converged: bool = True) -> Verdict:
    """Return the verdict on an answer. Every verdict comes from this rule.

    Do not believe an answer that did not converge, or whose parameters the choice of runs leaves open. Any
    other doubt asks for care.

    Args:
        doubts: The doubts, in any order.
        converged: Whether the fit is a minimum.
    """
    told = sorted(doubts, key=lambda line: not line.startswith((NOT_CONVERGED, UNDETERMINED)))
    if not converged:
        return Verdict(Level.DO_NOT_BELIEVE, tuple(told) or (NOT_CONVERGED,))
    if told and told[0].startswith(UNDETERMINED):
        return Verdict(Level.DO_NOT_BELIEVE, tuple(told))
    return Verdict(Level.BE_CAREFUL if told else Level.BELIEVE, tuple(told))
