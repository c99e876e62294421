"""Answers as generated text: greedy words up to a stop, scored against what would be right."""

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

# Scores of each text: SQuAD's two (arXiv 1606.05250), and ROUGE with Porter's stemmer as for summaries.
TEXT_VALUES: dict[str, Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]] = {
    "exact_match": lambda texts, refs: exact_match_values(texts, refs, normalise=True),
    "token_f1": token_f1_values,
    "rouge_1": lambda texts, refs: rouge_values(texts, refs, kind="rouge1", stemmer=True),
    "rouge_2": lambda texts, refs: rouge_values(texts, refs, kind="rouge2", stemmer=True),
    "rouge_l": lambda texts, refs: rouge_values(texts, refs, kind="rougeL", stemmer=True),
}
BATCH = 8  # prompts side by side, and a report of progress after as many


class Written(NamedTuple):
    """The text after each question, and the tokens it took."""

    texts: tuple[str, ...]
    n_tokens_asked: int  # of all prompts and completions
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
    # What all of them begin with was read once.
    return Written(tuple(texts), n_asked, n_asked - (len(contexts) - 1) * count_common(contexts))
