"""When the held-out loss of a pretraining run is measured, and how much that may cost.

This changes nothing that is trained, so it is not part of a run's identity.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from lora_jax.ranges import Range, check_fields, whole

NUMBER = whole(0, 10_000)
OF_TRAINING = Range(0, 100)  # FLOPs of measuring over those of training; above 1, measuring costs more
Spacing = Literal["log", "even"]
SPACINGS: tuple[Spacing, ...] = get_args(Spacing)
FIRST_POINT = 0.01  # with logarithmic spacing, the first measurement comes after this share of the steps


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """When held-out losses are measured during a run. They are always measured at its end.

    Attributes:
        n_points: Largest number of steps at which they are measured. 0 measures only at the end.
        share: Largest share of a run's training FLOPs that this may cost.
        spacing: "log" spaces the steps evenly in their logarithm, from a hundredth of the run on. "even"
            spaces them evenly.
    """

    n_points: Annotated[int, NUMBER] = 8
    share: Annotated[float, OF_TRAINING] = 0.05
    spacing: Spacing = "log"

    def __post_init__(self) -> None:
        check_fields(self)

    def choose_steps(self, n_steps: int, n_points: int) -> list[int]:
        """Return at most `n_points` different steps of a run of `n_steps`, without the last step."""
        if self.spacing == "log":
            shares = [FIRST_POINT ** (1 - k / n_points) for k in range(n_points)]
        else:
            shares = [k / (n_points + 1) for k in range(1, n_points + 1)]
        return sorted(step for step in {round(n_steps * share) for share in shares} if 0 < step < n_steps)


DEFAULT = Measuring()
NEVER = Measuring(n_points=0)
