"""A model asked the questions of a task, with demonstrations: scores with intervals, and what they cost."""

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
    """Of one set of demonstrations. The first score leads; lists are in the order of the questions."""

    scores: dict[str, Score]
    values: dict[str, list[float]]  # by score, of each question: what `scores` are means of; F1 has none
    predictions: list[int] | list[str]  # labels, or generated text
    label_scores: np.ndarray | None  # (questions, labels), of which the largest was chosen
    baselines: dict[str, float]  # of a task with labels: chance, and always the commonest label
    n_examples: int
    n_shots: float  # demonstrations in a prompt, on average
    n_tokens_asked: int  # of all prompts and answers, each as if it were run by itself: what is billed
    n_tokens_run: int  # that went through the model
    seconds: float  # of the model's answers, compilation included
    prompted: Prompted
    notes: tuple[str, ...]

    @property
    def leading(self) -> str:
        return next(iter(self.scores))

    def describe(self) -> dict[str, Any]:
        """Return all but the prompts and the single answers, ready for JSON."""
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
    """Ask a task's questions behind one set of demonstrations, which are drawn from its train split.

    task: of `load_prompted` with this prompt. normalise, calibrate: see prompting/normalise.py; of labels
    that are compared alone. n_examples: a draw of the split's, fewer being a subset of more; None: all.

    Raises:
        LoraJaxError: more examples or shots than there are, calibration
            of generated text, or what `build_prompts` refuses.
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
            engine, tokenizer, prompt, demonstrations, prompted,
            normalise=normalise, calibrate=calibrate, tell=tell,
        )  # fmt: skip
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
    """Return the first n of a shuffle that is always the same, all in their own order for None."""
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
