"""The history of a fine-tuning run, with the best weights by the dev split."""

from dataclasses import dataclass, field

from lora_jax.metrics import SMALLER_IS_BETTER, Scores
from lora_jax.params import Params
from lora_jax.training.history import LossHistory


@dataclass
class History(LossHistory):
    """The losses and scores of a run so far. A saved run continues from it.

    Attributes:
        kept: The trainable weights of the best dev score.
        kept_step: The step of these weights.
        dev: The dev scores of these weights.
        worse: How many scores in a row were no better than the best.
        dev_curve: [step, loss, score] of every dev score.
        n_rungs: Rungs of successive halving that the run has reached.
    """

    kept: Params | None = None
    kept_step: int = 0
    dev: Scores | None = None
    worse: int = 0
    dev_curve: list[list[float]] = field(default_factory=list)
    n_rungs: int = 0


def is_better(new: Scores, old: Scores, metric: str) -> bool:
    """Is the new score better? If the scores are equal, the smaller loss is better."""
    one, two = (rung_score(scores, metric) for scores in (new, old))
    return one < two or (one == two and new.loss < old.loss)


def rung_score(scores: Scores, metric: str) -> float:
    """Return the score by which runs are compared. Lower is better."""
    value = scores.scores[metric]["value"]
    return value if metric in SMALLER_IS_BETTER else -value
