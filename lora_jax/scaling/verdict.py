"""Verdicts: whether to believe an answer, as a value. One rule for every fit, sweep and approach."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# How the certificate's gravest reasons begin. They are the first to be told.
NOT_CONVERGED = "not converged"
UNDETERMINED = "undetermined"  # by the choice of runs, whatever their losses


class Level(StrEnum):
    """How far an answer may be believed; the values are the words for it."""

    BELIEVE = "believe it"
    BE_CAREFUL = "be careful"
    DO_NOT_BELIEVE = "do not believe it"


@dataclass(frozen=True)
class Verdict:
    """How far to trust an answer.

    Attributes:
        level: Believe it, be careful, or do not believe it.
        doubts: The reasons, the gravest first. Empty if the answer is to be believed.
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
    """Return the verdict on an answer: the rule that everything follows which says one.

    An answer that did not converge is not to be believed, nor one whose parameters the choice of runs leaves
    open. Any other doubt asks for care.
    """
    told = sorted(doubts, key=lambda line: not line.startswith((NOT_CONVERGED, UNDETERMINED)))
    if not converged:
        return Verdict(Level.DO_NOT_BELIEVE, tuple(told) or (NOT_CONVERGED,))
    if told and told[0].startswith(UNDETERMINED):
        return Verdict(Level.DO_NOT_BELIEVE, tuple(told))
    return Verdict(Level.BE_CAREFUL if told else Level.BELIEVE, tuple(told))
