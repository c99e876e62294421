"""Training in progress: the state, what it gave so far, and the best weights by the dev split."""

from dataclasses import dataclass, field

from lora_jax.finetune.evaluate import Scores
from lora_jax.params import Params
from lora_jax.train.step import TrainState


@dataclass
class Course:
    """One run, as far as it has come."""

    state: TrainState
    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)  # not padding, of each step
    diverged_at: int | None = None
    kept: Params | None = None
    kept_step: int = 0
    dev: Scores | None = None  # of the kept weights
    worse: int = 0  # scores in a row that were no better than the best
    timed_steps: int = 0
    timed_seconds: float = 0.0
