"""Answers as generated text: the model writes greedily up to a stop, and we score what it wrote."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lora_jax.data.tasks import TextTokenizer
from lora_jax.framing import find_end_ids
from lora_jax.generation.common_prefix import count_common
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import cut_at_stop, generate
from lora_jax.metrics.text import exact_match_values, rouge_values, token_f1_values
from lora_jax.prompting.build import Prompted
from lora_jax.prompting.prompt import Prompt

# Scores of each text: SQuAD's two (arXiv 1606.05250), and ROUGE with Porter's stemmer, as for summaries.
TEXT_VALUES: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]] = {
    "exact_match": lambda texts, refs: exact_match_values(texts, refs, normalise=True),
    "token_f1": token_f1_values,
    "rouge_1": lambda texts, refs: rouge_values(texts, refs, kind="rouge1", stemmer=True),
    "rouge_2": lambda texts, refs: rouge_values(texts, refs, kind="rouge2", stemmer=True),
    "rouge_l": lambda texts, refs: rouge_values(texts, refs, kind="rougeL", stemmer=True),
}
BATCH = 8  # prompts in a batch, after each of which we report progress


class Written(NamedTuple):
    """The generated answers and their cost.

    Attributes:
        texts: The text after each question.
        n_tokens_asked: Tokens of all prompts and completions, each counted as if it ran alone.
        n_tokens_run: Tokens that went through the model.
    """

    texts: tuple[str, ...]
    n_tokens_asked: int
    n_tokens_run: int


def write_answers(
    engine: Engine,
    tokenizer: TextTokenizer,
    prompt: Prompt,
    prompted: Prompted,
    tell: Callable[[int, int], None] = lambda done, n: None,
) -> Written:
    """Let the model answer each question greedily.

    An answer ends at a stop string, at the end token, or after prompt.n_new tokens.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        prompt: The prompt.
        prompted: The questions.
        tell: Called with (questions done, total).
    """
    contexts = prompted.contexts
    completions = generate(
        engine,
        contexts,
        prompt.n_new,
        end_ids=find_end_ids(tokenizer),
        stop=prompt.stop,
        decode=tokenizer.decode,
        batch_size=BATCH,
        say=tell,
    )
    texts = (cut_at_stop(tokenizer.decode(one.tokens), prompt.stop).strip() for one in completions)
    n_asked = sum(map(len, contexts)) + sum(len(one.tokens) for one in completions)
    # The model read their common beginning once.
    return Written(tuple(texts), n_asked, n_asked - (len(contexts) - 1) * count_common(contexts))
