"""When the state of a run in training is saved, and which states are kept for good.

Nothing here changes what is trained. So none of it is part of a run's identity.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from lora_jax.ranges import COUNT, POSITIVE_SHARE, Range, check_fields, whole

SECONDS = Range(0, 1e9, above=True)
NUMBER_KEPT = whole(1, 10_000)
KEPT = "kept"  # the folder of states that are kept for good, among a run's checkpoints


@dataclass(frozen=True, kw_only=True)
class Saving:
    """When states are saved.

    Attributes:
        every_seconds: Seconds between two checkpoints of a run in progress.
        every_steps: Number of steps between two further checkpoints. None saves by time alone.
        n_kept: How many of the newest checkpoints of a run in progress are kept. With two or more, training
            can go back to an older one if the newest is damaged.
        fractions: Shares of a run's steps after which its state is kept for good, such as (0.25, 0.5).
    """

    every_seconds: Annotated[float, SECONDS] = 60.0
    every_steps: Annotated[int, COUNT] | None = None
    n_kept: Annotated[int, NUMBER_KEPT] = 2
    fractions: tuple[Annotated[float, POSITIVE_SHARE], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def steps_kept(self, n_steps: int) -> frozenset[int]:
        """Return the steps of a run of `n_steps` after which its state is kept."""
        return frozenset(max(1, round(share * n_steps)) for share in self.fractions)

    def next_save(self, step: int, kept: Collection[int]) -> float:
        """Return the first step after `step` whose number asks for a save. Infinite if there is none.

        Args:
            step: Steps taken so far.
            kept: The steps after which the state is kept for good.
        """
        own = [] if self.every_steps is None else [(step // self.every_steps + 1) * self.every_steps]
        return min((*own, *(other for other in kept if other > step)), default=float("inf"))


@dataclass(frozen=True)
class KeptStates:
    """States that are kept for good.

    Attributes:
        folder: Where they are. Each has a folder of its own, named by its step.
        steps: The steps after which the state is kept.
    """

    folder: Path
    steps: frozenset[int]


DEFAULT = Saving()
