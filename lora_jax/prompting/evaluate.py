"""Ask a model the questions of a task, with demonstrations: scores with intervals, and the cost."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks import Example, TaskData, TextTokenizer
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine
from lora_jax.metrics import Score, accuracy, f1, interval
from lora_jax.prompting.build import Prompted, build_prompts
from lora_jax.prompting.by_generation import TEXT_VALUES, write_answers
from lora_jax.prompting.by_likelihood import Tell, choose_labels
from lora_jax.prompting.normalise import Normalise
from lora_jax.prompting.prompt import Prompt
from lora_jax.prompting.shots import Shots, draw_shots

Split = Literal["dev", "test"]


@dataclass(frozen=True)
class Evaluation:
    """The result for one set of examples. Lists are in the order of the questions.

    Attributes:
        scores: The scores with intervals. The first one leads.
        values: For each score, its value for each question; `scores` are their means. F1 has none.
        predictions: Labels, or generated texts.
        label_scores: Scores (questions, labels). The label with the largest was chosen. None for generated
            text.
        baselines: For a task with labels, the accuracy of chance and of always answering the most common
            label.
        n_examples: Number of questions.
        n_shots: Examples in a prompt, on average.
        n_tokens_asked: Tokens of all prompts and answers, each counted as if it ran alone. This is what a
            service would bill.
        n_tokens_run: Tokens that went through the model.
        seconds: Time for the model's answers, with compilation.
        prompted: The prompts.
        notes: What was cut or left out, in words.
    """

    scores: dict[str, Score]
    values: dict[str, list[float]]
    predictions: list[int] | list[str]
    label_scores: np.ndarray | None
    baselines: dict[str, float]
    n_examples: int
    n_shots: float
    n_tokens_asked: int
    n_tokens_run: int
    seconds: float
    prompted: Prompted
    notes: tuple[str, ...]

    @property
    def leading(self) -> str:
        """Name of the score that leads."""
        return next(iter(self.scores))

    def describe(self) -> dict[str, Any]:
        """Return everything but the prompts and the single answers, ready for JSON."""
        names = ("scores", "baselines", "n_examples", "n_shots", "n_tokens_asked", "n_tokens_run", "seconds")
        return {name: getattr(self, name) for name in names} | {
            "n_cut": self.prompted.n_cut,
            "n_shortened": self.prompted.n_shortened,
            "notes": list(self.notes),
        }


def evaluate(
    engine: Engine,
    tokenizer: TextTokenizer,
    task: TaskData,
    prompt: Prompt,
    shots: Shots,
    *,
    normalise: Normalise = "length",
    calibrate: bool = False,
    n_examples: int | None = None,
    split: Split = "test",
    tell: Tell = lambda done, n: None,
) -> Evaluation:
    """Score a model on a task by asking its questions with one set of examples in the prompt.

    Args:
        engine: The model.
        tokenizer: Its tokenizer.
        task: The task, from `load_prompted` with this prompt.
        prompt: The template, the answers and the scorer.
        shots: The examples in the prompt. They are drawn from the task's train split.
        normalise: How label likelihoods are normalised (prompting/normalise.py). Only for labels that are
            compared.
        calibrate: Whether to correct the labels' probabilities by prompts without content. Only for labels
            that are compared.
        n_examples: Number of questions. A smaller number is a subset of a larger one. None asks all.
        split: The split of the questions.
        tell: Called with (questions done, total).

    Returns:
        The scores with intervals, the predictions, and the cost in tokens and seconds.

    Raises:
        LoraJaxError: There are fewer examples or shots than asked for, generated text should be calibrated,
            or `build_prompts` refuses the prompt.
    """
    if calibrate and prompt.scorer == "generate":
        raise LoraJaxError(
            "Calibration compares the likelihoods of labels, and this prompt generates text: leave it out, or"
            " give answers to be compared."
        )
    questions = draw_questions(task.dev if split == "dev" else task.test, n_examples)
    demonstrations = draw_shots(task.train, shots, len(task.labels))
    prompted = build_prompts(prompt, demonstrations, questions, tokenizer, engine.room)
    started = time.perf_counter()
    if prompt.scorer == "likelihood":
        chosen = choose_labels(
            engine,
            tokenizer,
            prompt,
            demonstrations,
            prompted,
            normalise=normalise,
            calibrate=calibrate,
            tell=tell,
        )
        predictions, label_scores = chosen.labels_N.tolist(), chosen.scores_NC
        scores, values = _score_labels(predictions, questions)
        n_asked, n_run = chosen.n_tokens_asked, chosen.n_tokens_run
    else:
        written = write_answers(engine, tokenizer, prompt, prompted, tell)
        predictions, label_scores = list(written.texts), None
        scores, values = _score_texts(prompt, predictions, questions)
        n_asked, n_run = written.n_tokens_asked, written.n_tokens_run
    return Evaluation(
        scores=scores,
        values=values,
        predictions=predictions,
        label_scores=label_scores,
        baselines=_find_baselines(task, questions),
        n_examples=len(questions),
        n_shots=float(prompted.n_shots_N.mean()),
        n_tokens_asked=n_asked,
        n_tokens_run=n_run,
        seconds=time.perf_counter() - started,
        prompted=prompted,
        notes=(*task.notes, *prompted.describe_cuts(len(demonstrations), engine.room)),
    )


def draw_questions(examples: tuple[Example, ...], n: int | None) -> tuple[Example, ...]:
    """Return the first n questions of a shuffle that is always the same.

    None returns all, in their own order.

    Raises:
        LoraJaxError: n is below 1 or above the number of examples.
    """
    if n is None:
        return examples
    if not 1 <= n <= len(examples):
        raise LoraJaxError(
            f"{n} examples are to be asked, the split has {len(examples)}: give a number from 1 to that."
        )
    return tuple(examples[i] for i in permute(np.arange(n), len(examples), order_key(0)).tolist())


def _score_labels(
    predicted: list[int], questions: tuple[Example, ...]
) -> tuple[dict[str, Score], dict[str, list[float]]]:
    labels = [_label_of(question) for question in questions]
    values = [float(ours == label) for ours, label in zip(predicted, labels, strict=True)]
    return {"accuracy": accuracy(predicted, labels), "f1": f1(predicted, labels)}, {"accuracy": values}


def _score_texts(
    prompt: Prompt, texts: list[str], questions: tuple[Example, ...]
) -> tuple[dict[str, Score], dict[str, list[float]]]:
    references = [question.references for question in questions]
    values_N = {name: TEXT_VALUES[name](texts, references) for name in prompt.scores}
    scores = {name: interval(found) for name, found in values_N.items()}
    return scores, {name: found.astype(float).tolist() for name, found in values_N.items()}


def _label_of(question: Example) -> int:
    if question.label is None:
        raise LoraJaxError(
            f"The question {question.text[:40]!r} has no label, and the prompt has answers for labels: leave"
            " the answers out."
        )
    return question.label


def _find_baselines(task: TaskData, questions: tuple[Example, ...]) -> dict[str, float]:
    if not task.labels:
        return {}
    counts = Counter(question.label for question in questions)
    return {"chance": 1 / len(task.labels), "majority": max(counts.values()) / len(questions)}
