"""Scores of a split, each with its interval. One pass gives losses and labels, another one completions."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.data.tasks import Batch, Encoded, encode_prompts, make_batches
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.step import ExampleLosses, make_measure, make_measure_many
from lora_jax.framing import distinct, find_end_ids
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.metrics import Score, Scores, accuracy, bleu, exact_match, f1, interval, ratio_interval, rouge
from lora_jax.peft.method import Adapted, MethodConfig
from lora_jax.peft.stacking import split_shared

EVALUATION_BATCH = 64  # examples in a call
EVALUATION_BYTES = 2**30  # size of the largest array in a call, over all adapters that it scores


def evaluate_split(prepared: Prepared, config: MethodConfig, adapted: Adapted, split: Encoded) -> Scores:
    """Score a split without generating: the loss, and for a classifier accuracy and macro F1."""
    return evaluate_many(prepared, config, [adapted], split)[0]


def evaluate_many(
    prepared: Prepared, config: MethodConfig, adapted: Sequence[Adapted], split: Encoded
) -> list[Scores]:
    """Score a split with several adapters of one method and shape. They read it side by side.

    A frozen weight that is the same array in all of them is read once. The others are stacked. As many
    adapters are scored at once as EVALUATION_BYTES allow. Each gets the scores that it would get alone.
    """
    width = max(1, EVALUATION_BYTES // _activation_bytes(prepared.model, split))
    found: list[Scores] = []
    for start in range(0, len(adapted), width):
        found += _evaluate(prepared, config, adapted[start : start + width], split)
    return found


def _evaluate(
    prepared: Prepared, config: MethodConfig, adapted: Sequence[Adapted], split: Encoded
) -> list[Scores]:
    measure = _measure_together(prepared.model, config, adapted)
    n = len(split)
    losses_GN, weights_GN = np.zeros((len(adapted), n)), np.zeros((len(adapted), n))
    predicted_GN = np.zeros((len(adapted), n), np.int64)
    batches = make_batches(split, EVALUATION_BATCH, seed=0, epoch=None)
    for index, batch in enumerate(batches):
        loss_GB, weight_GB, predicted_GB = jax.device_get(measure(batch))
        row_N, line_N, _ = batches.members(index)
        losses_GN[:, row_N], weights_GN[:, row_N] = loss_GB[:, line_N], weight_GB[:, line_N]
        if predicted_GB is not None:
            predicted_GN[:, row_N] = predicted_GB[:, line_N]
    return [
        _score(prepared.model, split, *of_one)
        for of_one in zip(losses_GN, weights_GN, predicted_GN, strict=True)
    ]


def _measure_together(
    model: ModelConfig, config: MethodConfig, adapted: Sequence[Adapted]
) -> Callable[[Batch], ExampleLosses]:
    """Return a compiled function of a batch that gives the losses of every adapter, (G, B)."""
    first = adapted[0]
    if len(adapted) == 1:
        measure_one = make_measure(model, config)
        return lambda batch: jax.tree.map(
            lambda x: x[None], measure_one(first.trainable, first.frozen, batch)
        )
    shared, own = split_shared([one.frozen for one in adapted])
    trainable = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.trainable for one in adapted))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *own)
    measure = make_measure_many(model, config)
    return lambda batch: measure(trainable, shared, stacked, batch)


def _score(
    model: ModelConfig, split: Encoded, losses_N: np.ndarray, weights_N: np.ndarray, predicted_N: np.ndarray
) -> Scores:
    if split.labels_N is None or model.n_classes is None:
        losses, weights = (np.bincount(split.example_N, values) for values in (losses_N, weights_N))
        return Scores({"loss": ratio_interval(losses, weights)}, (losses / weights).tolist())
    labels = split.labels_N
    scores = {
        "accuracy": accuracy(predicted_N, labels),
        "f1": f1(predicted_N, labels),
        "loss": interval(losses_N),
    }
    return Scores(scores, (predicted_N == labels).astype(int).tolist())


def _activation_bytes(model: ModelConfig, split: Encoded) -> int:
    """Return the float32 bytes of a batch's largest array: logits, attention scores or the MLP's numbers."""
    widest = max(model.ff_width, model.n_heads * split.max_tokens)
    if model.n_classes is None:
        widest = max(widest, model.vocab_size)
    return 4 * EVALUATION_BATCH * split.max_tokens * widest


def score_completions(
    prepared: Prepared, config: MethodConfig, adapted: Adapted, max_tokens: int, n_examples: int
) -> tuple[dict[str, Score], list[str]]:
    """Complete the first test examples greedily and score the completions.

    Args:
        prepared: The base and the task.
        config: The method.
        adapted: Its weights.
        max_tokens: Prompts are cut to so many tokens.
        n_examples: Number of test examples.

    Returns:
        BLEU, ROUGE-L and exact match, and the completions.
    """
    tokenizer, test = prepared.pretrained.tokenizer, prepared.test
    examples = prepared.task.test[:n_examples]
    prompts = encode_prompts(examples, tokenizer, max_tokens)
    n_new = max(len(row) - int(n) for row, n in zip(test.tokens, test.n_prompt_N, strict=True))
    engine = Engine(prepared.model, [adapted], config)
    texts = complete(prepared, engine, prompts.tokens, n_new)
    references = [tuple(r.strip() for r in example.references) for example in examples]
    scores = {
        "bleu": bleu(texts, references),
        "rouge_l": rouge(texts, references),
        "exact_match": exact_match(texts, references),
    }
    return scores, texts


def complete(prepared: Prepared, engine: Engine, prompts: Sequence[np.ndarray], n_new: int) -> list[str]:
    """Complete prompts greedily, by at most `n_new` tokens.

    A completion ends earlier at a token that ends a text or a training row.
    """
    tokenizer = prepared.pretrained.tokenizer
    assert tokenizer.eos_id is not None  # encode_generation refuses a tokenizer without it
    end_ids = distinct((*find_end_ids(tokenizer), tokenizer.eos_id))
    completions = generate(engine, prompts, n_new, end_ids=end_ids)
    return [tokenizer.decode(completion.tokens).strip() for completion in completions]
