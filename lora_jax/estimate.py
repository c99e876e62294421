"""A number with its interval. Everything that measures a number returns it in this form."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AtBound:
    """Which of a number and the ends of its interval lie at a bound of the search.

    Attributes:
        value: The bound that the number lies at, or None.
        low: The bound that the lower end lies at, or None.
        high: The bound that the upper end lies at, or None.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and its 95 % interval.

    Attributes:
        value: The number. It is nan if it is undefined.
        se: Its standard error, or None.
        ci95: Both ends of its 95 % interval, or None.
        at_bound: Which bound the number lies at, if any (`mark_bound`).
        by: Where the interval comes from: "bootstrap", "cluster bootstrap" or "profile". "fixed" and "judged"
            mark a number that was given.
        share_at_bound: Share of the replicates that end at a bound, if any do.
        profile95: A profile's interval that is open on one side. The open end is None, and so is `ci95`.
        fitted: For a number that was given, what the fit itself finds.
    """

    value: float
    se: float | None
    ci95: tuple[float, float] | None
    at_bound: AtBound | None = None
    by: str | None = None
    share_at_bound: float | None = None
    profile95: tuple[float | None, float | None] | None = None
    fitted: "Estimate | None" = None

    def __str__(self) -> str:
        """Return the number and its interval to four digits."""
        between = "no interval" if self.ci95 is None else f"{self.low:.4g} to {self.high:.4g}"
        return f"{self.value:.4g} ({between})"

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the 95 % interval. Both are nan if there is none."""
        return self.ci95 or (math.nan, math.nan)

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval. It is nan if there is none."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval. It is nan if there is none."""
        return self.interval[1]

    @property
    def is_fixed(self) -> bool:
        """Whether the number was held at a value instead of fitted."""
        return self.by == "fixed"
