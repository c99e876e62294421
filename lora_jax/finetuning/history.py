"""What a run gave so far, and the best weights by the dev split."""

from dataclasses import dataclass, field

from lora_jax.metrics import SMALLER_IS_BETTER, Scores
from lora_jax.params import Params
from lora_jax.training.history import LossHistory


@dataclass
class History(LossHistory):
    """One run, as far as it has come; a saved one goes on from here."""

    kept: Params | None = None  # the trainable weights of the best dev score
    kept_step: int = 0
    dev: Scores | None = None  # of the kept weights
    worse: int = 0  # scores in a row that were no better than the best
    dev_curve: list[list[float]] = field(default_factory=list)  # [step, loss, score] of every dev score
    n_rungs: int = 0  # of successive halving, that it has come to


def is_better(new: Scores, old: Scores, metric: str) -> bool:
    """Is the new score better; of equal scores, the one of smaller loss?"""
    one, two = (rung_score(scores, metric) for scores in (new, old))
    return one < two or (one == two and new.loss < old.loss)


def rung_score(scores: Scores, metric: str) -> float:
    """Return the score that runs are compared by, less being better."""
    value = scores.scores[metric]["value"]
    return value if metric in SMALLER_IS_BETTER else -value
