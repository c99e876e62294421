"""How likely a model finds each label: with and without calibration in one pass, or after fine-tuning."""

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
    """The questions of a task, answered in one way.

    Attributes:
        rights: 1 for each question that was answered correctly, otherwise 0.
        accuracy: Share of correct answers.
        loss: Nats of the right label.
        n_tokens_asked: Tokens of all prompts and answers, each counted as if it ran alone.
        n_tokens_run: Tokens that went through the model.
        seconds: Time, compilation included.
    """

    rights: list[int]
    accuracy: Score
    loss: Score
    n_tokens_asked: int
    n_tokens_run: int
    seconds: float


@dataclass(frozen=True)
class Asked:
    """Both ways to answer, from one pass.

    Attributes:
        plain: The answers without calibration.
        calibrated: The answers with calibration. None if it was not asked for.
        n_shots: Demonstrations in front of a question, on average.
        notes: What was cut, in words.
    """

    plain: Answered
    calibrated: Answered | None
    n_shots: float
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
    """Ask every question after the demonstrations. The label is the one with the likeliest answer per token.

    The costs of the calibrated way include those of the plain way and of the prompts without content.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        prompt: The prompt.
        demonstrations: The examples in the prompt.
        questions: The questions.
        calibrate: Whether to answer with calibration too.
        tell: Called with (questions done, total).

    Raises:
        LoraJaxError: `build_prompts` refuses the prompt.
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
    """Scores fine-tuned weights in the way of prompts: by the labels' likelihoods, without demonstrations.

    It is a `finetuning.loop.Tester`. `answered` holds the answers of the run that was scored last.

    Args:
        prompt: The prompt.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self.answered: Answered | None = None

    def __call__(self, config: FinetuneConfig, prepared: Prepared, adapted: Adapted) -> Scores:
        """Score the test split."""
        engine = Engine(prepared.model, [adapted], config.method)
        tokenizer, questions = prepared.pretrained.tokenizer, prepared.task.test
        asked = ask(engine, tokenizer, self._prompt, (), questions, calibrate=False)
        self.answered = asked.plain
        scores = {"accuracy": asked.plain.accuracy, "loss": asked.plain.loss}
        return Scores(scores, [float(right) for right in asked.plain.rights])
