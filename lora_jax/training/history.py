"""The losses and token counts of a run so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class LossHistory:
    """The loss and the tokens of every step so far, and whether the run ended early.

    Attributes:
        losses: Training loss of each step.
        tokens: Tokens that each step trained on, without padding.
        diverged_at: The first step whose loss was not finite, counted from 0.
        halted_at: The step of the rung at which other runs were better.
    """

    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    diverged_at: int | None = None
    halted_at: int | None = None

    @property
    def ended(self) -> bool:
        """Has the run diverged, or was it halted?"""
        return self.diverged_at is not None or self.halted_at is not None

    def take(self, losses: Sequence[float], tokens: Sequence[int]) -> None:
        """Add the losses and the tokens of a turn of steps."""
        first, finite = len(self.losses), np.isfinite(losses)
        self.losses += losses
        self.tokens += tokens
        if not finite.all():
            self.diverged_at = first + int(np.argmin(finite))
