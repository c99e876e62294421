"""What a run has given so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class LossHistory:
    """The loss and the tokens of every step so far, and whether the run ended early."""

    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)  # trained on by each step, without padding
    diverged_at: int | None = None  # the first loss that was not finite
    halted_at: int | None = None  # step of the rung at which others were better

    @property
    def ended(self) -> bool:
        return self.diverged_at is not None or self.halted_at is not None

    def take(self, losses: Sequence[float], tokens: Sequence[int]) -> None:
        """Take in the losses and the tokens of a turn of steps."""
        first, finite = len(self.losses), np.isfinite(losses)
        self.losses += losses
        self.tokens += tokens
        if not finite.all():
            self.diverged_at = first + int(np.argmin(finite))
