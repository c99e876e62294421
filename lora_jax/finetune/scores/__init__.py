"""Scores of predictions, each a `Score`: a value, its standard error and its 95 % interval over examples."""

from lora_jax.finetune.scores.classification import accuracy, f1
from lora_jax.finetune.scores.intervals import Score, difference, interval, wilson
from lora_jax.finetune.scores.text import bleu, exact_match, rouge, token_f1

__all__ = [
    "Score",
    "accuracy",
    "bleu",
    "difference",
    "exact_match",
    "f1",
    "interval",
    "rouge",
    "token_f1",
    "wilson",
]
