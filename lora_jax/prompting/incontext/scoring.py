"""How likely a model finds each label: with and without calibration from one pass, or after fine-tuning."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lora_jax.data.tasks import Example, TextTokenizer
from lora_jax.finetuning.config import FinetuneConfig
from lora_jax.finetuning.prepare import Prepared
from lora_jax.generation.engine import Engine
from lora_jax.metrics import Score, Scores, accuracy, interval
from lora_jax.peft.method import Adapted
from lora_jax.prompting.build import build_prompts
from lora_jax.prompting.by_likelihood import measure_likelihoods
from lora_jax.prompting.normalise import CONTENT_FREE, calibrate_scores, log_softmax, normalise_scores
from lora_jax.prompting.prompt import Prompt

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Answered:
    """The questions of a task answered one way. rights: 1 or 0 of each; loss: nats of the right label."""

    rights: list[int]
    accuracy: Score
    loss: Score
    n_tokens_asked: int  # each prompt as if it were run by itself
    n_tokens_run: int
    seconds: float  # compilation included


@dataclass(frozen=True)
class Asked:
    """Both ways from one pass; calibrated: None where it was not asked for."""

    plain: Answered
    calibrated: Answered | None
    n_shots: float  # demonstrations in front of a question, on average
    notes: tuple[str, ...]


def ask(
    engine: Engine,
    tokenizer: TextTokenizer,
    prompt: Prompt,
    demonstrations: Sequence[Example],
    questions: Sequence[Example],
    *,
    calibrate: bool,
    tell: Tell = lambda done, n: None,
) -> Asked:
    """Ask every question behind the demonstrations; of each the likeliest answer a token is the label.

    The costs of the calibrated way are those of the plain one and of the prompts without content.
    Raises LoraJaxError for what `build_prompts` refuses.
    """
    started = time.perf_counter()
    labels_N = np.array([question.label for question in questions], np.int64)
    built = build_prompts(prompt, demonstrations, questions, tokenizer, engine.room)
    found = measure_likelihoods(engine, built, tell)
    n_bytes_C = np.array([len(prompt.follow(text).encode()) for text in prompt.answers])
    scores_NC = normalise_scores("length", found.logprobs_NC, found.n_tokens_NC, n_bytes_C)
    seconds = time.perf_counter() - started
    plain = _judge(scores_NC, labels_N, found.n_tokens_asked, found.n_tokens_run, seconds)
    calibrated = None
    if calibrate:
        free = [Example(prompt.parsed.fill(dict.fromkeys(prompt.columns, text))) for text in CONTENT_FREE]
        more = measure_likelihoods(
            engine, build_prompts(prompt, demonstrations, free, tokenizer, engine.room)
        )
        free_RC = normalise_scores("length", more.logprobs_NC, more.n_tokens_NC, n_bytes_C)
        calibrated = _judge(
            calibrate_scores(scores_NC, free_RC),
            labels_N,
            found.n_tokens_asked + more.n_tokens_asked,
            found.n_tokens_run + more.n_tokens_run,
            time.perf_counter() - started,
        )
    notes = tuple(built.describe_cuts(len(demonstrations), engine.room))
    return Asked(plain, calibrated, float(built.n_shots_N.mean()), notes)


def _judge(scores_NC: np.ndarray, labels_N: np.ndarray, n_asked: int, n_run: int, seconds: float) -> Answered:
    predicted_N = scores_NC.argmax(axis=1)
    losses_N = -log_softmax(scores_NC)[np.arange(len(labels_N)), labels_N]
    return Answered(
        rights=(predicted_N == labels_N).astype(int).tolist(),
        accuracy=accuracy(predicted_N, labels_N),
        loss=interval(losses_N),
        n_tokens_asked=n_asked,
        n_tokens_run=n_run,
        seconds=seconds,
    )


class LikelihoodTester:
    """Scores fine-tuned weights as prompts are scored: the labels' likelihoods, without demonstrations.

    A `finetuning.loop.Tester`; `answered` is of the last run that was scored.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self.answered: Answered | None = None

    def __call__(self, config: FinetuneConfig, prepared: Prepared, adapted: Adapted) -> Scores:
        engine = Engine(prepared.model, [adapted], config.method)
        tokenizer, questions = prepared.pretrained.tokenizer, prepared.task.test
        asked = ask(engine, tokenizer, self._prompt, (), questions, calibrate=False)
        self.answered = asked.plain
        scores = {"accuracy": asked.plain.accuracy, "loss": asked.plain.loss}
        return Scores(scores, [float(right) for right in asked.plain.rights])
