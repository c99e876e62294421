"""Scores of predictions. Each `Score` has a value, its standard error and its 95 % interval over examples."""

from lora_jax.metrics.classification import accuracy, f1
from lora_jax.metrics.intervals import Score, difference, interval, ratio_interval, wilson
from lora_jax.metrics.scores import SMALLER_IS_BETTER, Scores, primary_metric
from lora_jax.metrics.text import bleu, exact_match, rouge, token_f1

__all__ = [
    "SMALLER_IS_BETTER",
    "Score",
    "Scores",
    "accuracy",
    "bleu",
    "difference",
    "exact_match",
    "f1",
    "interval",
    "primary_metric",
    "ratio_interval",
    "rouge",
    "token_f1",
    "wilson",
]
