"""Scores of a split, each with its interval: losses and labels from one pass, completions where asked for."""

import math
from dataclasses import dataclass

import jax
import numpy as np

from lora_jax.data.tasks import Encoded, encode_prompts, make_batches
from lora_jax.finetune.decode import complete_greedily
from lora_jax.finetune.prepare import Prepared
from lora_jax.finetune.scores import Score, accuracy, bleu, exact_match, f1, interval, rouge
from lora_jax.finetune.scores.intervals import Z95
from lora_jax.finetune.step import make_measure
from lora_jax.peft.method import Adapted, MethodConfig

EVALUATION_BATCH = 64  # examples a call
SMALLER_IS_BETTER = ("loss",)


@dataclass(frozen=True)
class Scores:
    """scores by name. values: of each example, right (1) or wrong (0), or its loss."""

    scores: dict[str, Score]
    values: list[float]

    @property
    def loss(self) -> float:
        return self.scores["loss"]["value"]


def choose_metric(kind: str) -> str:
    """Return the score that weights are kept and rates are chosen by."""
    return "accuracy" if kind == "classification" else "loss"


def evaluate_split(prepared: Prepared, config: MethodConfig, adapted: Adapted, split: Encoded) -> Scores:
    """Score a split without generating: loss, and for a classifier accuracy and macro F1."""
    measure = make_measure(prepared.model, config)
    n = len(split)
    losses, weights, predicted = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    batches = make_batches(split, EVALUATION_BATCH, seed=0, epoch=None)
    for index, batch in enumerate(batches):
        found = jax.device_get(measure(adapted.trainable, adapted.frozen, batch))
        row_N, line_N, _ = batches.members(index)
        losses[row_N], weights[row_N] = found.loss_B[line_N], found.weight_B[line_N]
        if found.predicted_B is not None:
            predicted[row_N] = found.predicted_B[line_N]
    if split.labels_N is None or prepared.model.n_classes is None:
        losses, weights = (np.bincount(split.example_N, values) for values in (losses, weights))
        return Scores({"loss": ratio_interval(losses, weights)}, [round(v, 4) for v in losses / weights])
    labels = split.labels_N
    scores = {
        "accuracy": accuracy(predicted, labels),
        "f1": f1(predicted, labels),
        "loss": interval(losses),
    }
    return Scores(scores, (predicted == labels).astype(int).tolist())


def ratio_interval(losses: np.ndarray, weights: np.ndarray) -> Score:
    """Return the mean loss a token, its standard error by examples: a ratio of sums, by the delta method."""
    mean = float(losses.sum() / weights.sum())
    n = len(losses)
    se = math.sqrt(n / (n - 1) * float(np.square(losses - mean * weights).sum())) / float(weights.sum())
    return Score(value=mean, se=se, ci95=(mean - Z95 * se, mean + Z95 * se))


def score_completions(
    prepared: Prepared, config: MethodConfig, adapted: Adapted, max_tokens: int, n_examples: int
) -> tuple[dict[str, Score], list[str]]:
    """Return BLEU, ROUGE-L and exact match of greedy completions, and these, of the first test examples."""
    tokenizer, test = prepared.pretrained.tokenizer, prepared.test
    assert tokenizer.eos_id is not None  # encode_generation has refused a tokenizer without
    examples = prepared.task.test[:n_examples]
    prompts = encode_prompts(examples, tokenizer, max_tokens)
    n_new = max(len(row) - int(n) for row, n in zip(test.tokens, test.n_prompt_N, strict=True))
    ids = complete_greedily(prepared.model, config, adapted, prompts.tokens, n_new, tokenizer.eos_id)
    texts = [tokenizer.decode(row).strip() for row in ids]
    references = [tuple(r.strip() for r in example.references) for example in examples]
    scores = {
        "bleu": bleu(texts, references),
        "rouge_l": rouge(texts, references),
        "exact_match": exact_match(texts, references),
    }
    return scores, texts
