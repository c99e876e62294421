"""Numbers of a comparison with their intervals: a score over seeds and test examples, a difference of two."""

from dataclasses import dataclass

from lora_jax.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Score(Estimate):
    """A mean over seeds and test examples; `uncertainty.CROSSED` and `PER_RUN` say what its parts are.

    seed_se, test_se: the standard errors by seeds and by test examples. df: degrees of freedom of Student's
    t, None where it has no part. seed_sd: of a seed's own effect, None of one seed.
    """

    seed_se: float
    test_se: float
    df: int | None
    seed_sd: float | None


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A difference of two means. p: two-sided."""

    p: float

    @property
    def distinguishable(self) -> bool:
        """Whether the 95 % interval leaves out 0."""
        return not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Estimators:
    """How scores and differences were estimated, in words."""

    score: str
    difference: str
