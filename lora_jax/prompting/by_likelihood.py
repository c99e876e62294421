"""Labels as likely continuations: the model's log-likelihood of each answer after each question."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lora_jax.data.tasks import Example, TextTokenizer
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine
from lora_jax.generation.likelihood import Request, score
from lora_jax.prompting.build import Prompted, build_prompts, encode_answers, make_encoder
from lora_jax.prompting.normalise import CONTENT_FREE, Normalise, calibrate_scores, normalise_scores
from lora_jax.prompting.prompt import Prompt

Tell = Callable[[int, int], None]  # (questions done, questions)


class Likelihoods(NamedTuple):
    """The log-likelihood of each of C labels for each of N questions, and the cost.

    Attributes:
        logprobs_NC: Sum over the answer's tokens, in nats.
        n_tokens_NC: Tokens of the answers.
        n_tokens_asked: Tokens of all prompts and answers, each counted as if it ran alone.
        n_tokens_run: Tokens that went through the model.
    """

    logprobs_NC: np.ndarray
    n_tokens_NC: np.ndarray
    n_tokens_asked: int
    n_tokens_run: int


class Chosen(NamedTuple):
    """The label chosen for each question.

    Attributes:
        labels_N: The labels.
        scores_NC: Scores of all labels. The chosen label has the largest.
        n_tokens_asked: Tokens of all prompts and answers, each counted as if it ran alone.
        n_tokens_run: Tokens that went through the model.
    """

    labels_N: np.ndarray
    scores_NC: np.ndarray
    n_tokens_asked: int
    n_tokens_run: int


def choose_labels(
    engine: Engine,
    tokenizer: TextTokenizer,
    prompt: Prompt,
    demonstrations: Sequence[Example],
    prompted: Prompted,
    *,
    normalise: Normalise = "length",
    calibrate: bool = False,
    tell: Tell = lambda done, n: None,
) -> Chosen:
    """Choose the label of each question: the one with the likeliest answer.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        prompt: The prompt.
        demonstrations: The examples in the prompt.
        prompted: The questions.
        normalise: How likelihoods are normalised (`normalise_scores`).
        calibrate: Whether to correct them by prompts without content.
        tell: Called with (questions done, total).
    """
    found = [measure_likelihoods(engine, prompted, tell)]
    neutral_C, n_bytes_C = None, np.array([len(prompt.follow(text).encode()) for text in prompt.answers])
    if normalise == "unconditional":
        found.append(_measure_neutral(engine, tokenizer, prompt))
        neutral_C = found[-1].logprobs_NC[0]
    logprobs_NC, n_tokens_NC = found[0][:2]
    scores_NC = normalise_scores(normalise, logprobs_NC, n_tokens_NC, n_bytes_C, neutral_C)
    if calibrate:
        free = [Example(prompt.parsed.fill(dict.fromkeys(prompt.columns, text))) for text in CONTENT_FREE]
        built = build_prompts(prompt, demonstrations, free, tokenizer, engine.room)
        found.append(measure_likelihoods(engine, built))
        logprobs_RC, n_tokens_RC = found[-1][:2]
        free_RC = normalise_scores(normalise, logprobs_RC, n_tokens_RC, n_bytes_C, neutral_C)
        scores_NC = calibrate_scores(scores_NC, free_RC)
    return Chosen(
        scores_NC.argmax(axis=1),
        scores_NC,
        sum(one.n_tokens_asked for one in found),
        sum(one.n_tokens_run for one in found),
    )


def measure_likelihoods(engine: Engine, prompted: Prompted, tell: Tell = lambda done, n: None) -> Likelihoods:
    """Return the log-likelihood of every answer.

    Questions with equally many demonstrations are asked in one call. The model reads their common beginning
    once, and each question once for all of its labels.
    """
    n, n_labels = len(prompted.contexts), len(prompted.answers[0])
    logprobs_NC, n_tokens_NC = np.zeros((n, n_labels)), np.zeros((n, n_labels), np.int64)
    n_asked = n_run = n_done = 0
    for n_shots in np.unique(prompted.n_shots_N):
        (rows,) = np.nonzero(prompted.n_shots_N == n_shots)
        requests = [Request(prompted.contexts[i], ids) for i in rows for ids in prompted.answers[i]]
        before = n_done
        scored = score(
            engine, requests, say=lambda done, _, before=before: tell(before + done // n_labels, n)
        )
        for at, likelihood in enumerate(scored.likelihoods):
            i, label = rows[at // n_labels], at % n_labels
            logprobs_NC[i, label], n_tokens_NC[i, label] = likelihood.logprob, likelihood.n_tokens
        n_asked += sum(len(context) + len(ids) for context, ids in requests)
        n_run += scored.n_tokens_run
        n_done += len(rows)
    return Likelihoods(logprobs_NC, n_tokens_NC, n_asked, n_run)


def _measure_neutral(engine: Engine, tokenizer: TextTokenizer, prompt: Prompt) -> Likelihoods:
    """Return the likelihoods of the answers after the neutral prompt, without demonstrations, (1, C)."""
    ids = tuple(make_encoder(tokenizer)(prompt.neutral))
    if not ids:
        raise LoraJaxError(
            f"The neutral prompt {prompt.neutral!r} has no tokens, and nothing is predicted from nothing:"
            " give it words, such as 'Answer:'."
        )
    answers = encode_answers(prompt, prompt.neutral, tokenizer)
    return measure_likelihoods(
        engine, Prompted((ids,), (prompt.neutral,), (answers,), np.zeros(1, np.int64), 0, 0)
    )
