"""Numbers of a comparison with their intervals: a score over seeds and test examples, a difference of two."""

from dataclasses import dataclass

from lora_jax.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Score(Estimate):
    """A mean over seeds and test examples. `uncertainty.CROSSED` and `PER_RUN` say what its parts are.

    Attributes:
        seed_se: Standard error that comes from the seeds.
        test_se: Standard error that comes from the test examples.
        df: Degrees of freedom of Student's t. None if the interval does not use it.
        seed_sd: Standard deviation of a seed's own effect. None for a single seed.
    """

    seed_se: float
    test_se: float
    df: int | None
    seed_sd: float | None


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A difference of two means.

    Attributes:
        p: Two-sided p value.
    """

    p: float

    @property
    def distinguishable(self) -> bool:
        """Whether the 95 % interval excludes 0."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Estimators:
    """How scores and differences were estimated, in words.

    Attributes:
        score: How scores were estimated.
        difference: How differences were estimated.
    """

    score: str
    difference: str
