"""What one evaluation finds: scores by name, and which of them decides."""

from dataclasses import dataclass

from lora_jax.metrics.intervals import Score

SMALLER_IS_BETTER = ("loss",)


@dataclass(frozen=True)
class Scores:
    """The scores of one evaluation.

    Attributes:
        scores: The scores by name.
        values: For each example, right (1) or wrong (0), or its loss.
    """

    scores: dict[str, Score]
    values: list[float]

    @property
    def loss(self) -> float:
        """The value of the loss."""
        return self.scores["loss"]["value"]


def primary_metric(kind: str) -> str:
    """Return the score by which weights are kept and rates are chosen, for a kind of task."""
    return "accuracy" if kind == "classification" else "loss"
