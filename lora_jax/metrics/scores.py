"""What one evaluation finds: scores by name, and which of them decides."""

from dataclasses import dataclass

from lora_jax.metrics.intervals import Score

SMALLER_IS_BETTER = ("loss",)


@dataclass(frozen=True)
class Scores:
    """scores by name. values: of each example, right (1) or wrong (0), or its loss."""

    scores: dict[str, Score]
    values: list[float]

    @property
    def loss(self) -> float:
        return self.scores["loss"]["value"]


def primary_metric(kind: str) -> str:
    """Return the score that weights are kept and rates are chosen by."""
    return "accuracy" if kind == "classification" else "loss"
