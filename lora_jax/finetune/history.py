"""What a run gave so far, and the best weights by the dev split."""

from dataclasses import dataclass, field

from lora_jax.finetune.evaluate import SMALLER_IS_BETTER, Scores
from lora_jax.params import Params


@dataclass
class History:
    """One run, as far as it has come; a saved one goes on from here."""

    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)  # not padding, of each step
    diverged_at: int | None = None
    kept: Params | None = None  # the trainable weights of the best dev score
    kept_step: int = 0
    dev: Scores | None = None  # of the kept weights
    worse: int = 0  # scores in a row that were no better than the best
    n_rungs: int = 0  # of successive halving, that it has come to
    halted_at: int | None = None  # step of the rung at which it was in the worse half
    timed_steps: int = 0
    timed_seconds: float = 0.0  # that these took
    timed_share: float = 0.0  # its share of that, where others ran beside it
    n_here: int = 0  # steps taken in this process


def is_better(new: Scores, old: Scores, metric: str) -> bool:
    """Is the new score better; of equal scores, the one of smaller loss?"""
    one, two = (rung_score(scores, metric) for scores in (new, old))
    return one < two or (one == two and new.loss < old.loss)


def rung_score(scores: Scores, metric: str) -> float:
    """Return the score that runs are compared by, less being better."""
    value = scores.scores[metric]["value"]
    return value if metric in SMALLER_IS_BETTER else -value
