"""What an in-context comparison reads from its records, prompts/*.json and runs/*.json.

A fine-tuning run is a `TunedRun` with the examples that were dealt to it. The code that wrote the prompts
needs jax and has types of its own (`prompting/incontext/records.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lora_jax.comparison.incontext_results import PROMPT, TUNE, Cost
from lora_jax.comparison.tuned_runs import TunedRun, run_from_document
from lora_jax.documents import Key, from_document


@dataclass(frozen=True)
class Answers:
    """The cost of one pass over the test examples.

    Attributes:
        tokens: Tokens that went through the model.
        seconds: Time.
    """

    tokens: Annotated[int, Key("n_tokens_run")]
    seconds: float


@dataclass(frozen=True)
class ScoredAnswers(Answers):
    """Answers to the test examples.

    Attributes:
        rights: 1 for each test example that is right and 0 for each that is wrong.
    """

    rights: tuple[float, ...]


@dataclass(frozen=True)
class Template:
    """What we read of a prompt.

    Attributes:
        answers: The words of each label.
    """

    answers: tuple[Any, ...]


@dataclass(frozen=True)
class PromptTask:
    """What we read of a prompt's task.

    Attributes:
        prompt: Its template.
    """

    prompt: Template


@dataclass(frozen=True)
class PromptConfig:
    """A prompt: k examples of a draw before the questions of a task.

    Attributes:
        base: Name of the base.
        label: Name of the task.
        task: The task.
        task_settings: The task's config as the record has it.
        k: Number of examples.
        draw: The draw.
    """

    base: str
    label: str
    task: PromptTask
    task_settings: Annotated[Mapping[str, Any], Key("task")]
    k: int
    draw: int


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a record was made on.

    Attributes:
        device: The device.
        versions: Versions of Python and of the libraries.
        git_commit: Commit of the code. None if it was not a checkout.
        created_at: When, in UTC, ISO 8601.
    """

    device: str
    versions: Mapping[str, Any]
    git_commit: str | None
    created_at: str


@dataclass(frozen=True, kw_only=True)
class ScoredPrompt(Provenance):
    """A scored prompt. If calibration was asked for, it was scored with it as well.

    Attributes:
        run_id: Its id.
        config: Its config.
        settings: Its config as the record has it.
        n_shots: Number of examples in the prompts.
        plain: The answers without calibration.
        calibrated: The answers with calibration.
        notes: What deserves a note, in sentences.
    """

    run_id: str
    config: PromptConfig
    settings: Annotated[Mapping[str, Any], Key("config")]
    n_shots: float
    plain: ScoredAnswers | None
    calibrated: ScoredAnswers | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time that its answers took. The calibrated answers include the plain ones."""
        answers = self.calibrated or self.plain
        return 0.0 if answers is None else answers.seconds


@dataclass(frozen=True)
class Dealt:
    """The examples from which a run learned.

    Attributes:
        label: Name of the task.
        n: Number of examples of the draw. None for all.
        draw: The draw.
        head: Whether a classifier's head answers.
        answered: The cost of answering the test examples. None if a classifier's head answers.
    """

    label: str
    n: int | None
    draw: int
    head: bool
    answered: Answers | None = None


@dataclass(frozen=True)
class Split:
    """What we read of a split.

    Attributes:
        examples: Number of its examples.
    """

    examples: int


@dataclass(frozen=True)
class Splits:
    """What we read of the splits.

    Attributes:
        train: What was trained on.
    """

    train: Split


@dataclass(frozen=True)
class Rows:
    """What we read of a split as tokens.

    Attributes:
        tokens: Number of its tokens.
    """

    tokens: int


@dataclass(frozen=True)
class Encoded:
    """What we read of the splits as tokens.

    Attributes:
        test: What was tested on.
    """

    test: Rows


@dataclass(frozen=True)
class TunedData:
    """What we read of a run's data.

    Attributes:
        labels: Names of the labels.
        splits: The splits.
        encoded: The splits as tokens.
        in_context: The examples that were dealt.
    """

    labels: tuple[Any, ...]
    splits: Splits
    encoded: Encoded
    in_context: Dealt


@dataclass(frozen=True)
class DealtRun:
    """A fine-tuning run on dealt examples.

    Attributes:
        run: The run.
        data: What its data say about the examples.
    """

    run: TunedRun
    data: TunedData


@dataclass(frozen=True)
class Attempt:
    """One test of a way to learn: a prompt with one draw of examples, or one fine-tuning run.

    The other fields are those of `incontext_results.Point` and `Line`.

    Attributes:
        rights: 1 or 0 for each test example. Empty if a run diverged.
        dev: Score on the dev split, by which the learning rate of fine-tuning is chosen.
    """

    run_id: str
    task: str
    base: str
    way: str
    label: str
    head: bool
    n: int
    is_all: bool
    draw: int
    rate: float | None
    dev: float | None
    rights: tuple[float, ...]
    n_steps: int | None
    n_shots: float | None
    notes: tuple[str, ...]
    n_labels: int
    learn: Cost
    answer: Cost

    @property
    def is_prompt(self) -> bool:
        """Is this a prompt, and not a fine-tuning run?"""
        return self.way == PROMPT


def list_shots(record: ScoredPrompt) -> list[Attempt]:
    """Return one attempt for the plain prompt, and one for the calibrated prompt if it was scored."""
    config, found = record.config, []
    halves = (("plain", "k-shot", record.plain), ("calibrated", "k-shot, calibrated", record.calibrated))
    for name, label, answers in halves:
        if answers is None:
            continue
        found.append(
            Attempt(
                run_id=f"{record.run_id}:{name}",
                task=config.label,
                base=config.base,
                way=PROMPT,
                label=label,
                head=False,
                n=config.k,
                is_all=False,
                draw=config.draw,
                rate=None,
                dev=None,
                rights=answers.rights,
                n_steps=None,
                n_shots=record.n_shots,
                notes=record.notes,
                n_labels=len(config.task.prompt.answers),
                learn=Cost(0, 0.0),
                answer=Cost(answers.tokens, answers.seconds),
            )
        )
    return found


def dealt_from_document(record: Mapping[str, Any]) -> DealtRun:
    """Return the run of a record.

    Raises:
        Unreadable: The record lacks something, such as the dealt examples, or holds something else.
        LoraJaxError: The run was trained from scratch.
    """
    return DealtRun(run_from_document(record), from_document(TunedData, record.get("data"), "data"))


def read_tuned(dealt_run: DealtRun) -> Attempt:
    """Read one fine-tuning run. It has no `rights` if it diverged.

    Its `n` is the number of training rows, even if it learned from all examples.
    """
    record, data = dealt_run.run, dealt_run.data
    tuning, dealt, step = record.finetuning, data.in_context, record.finetuning.seconds_per_step
    answer = Cost(data.encoded.test.tokens, None)
    if dealt.answered is not None:
        answer = Cost(dealt.answered.tokens, dealt.answered.seconds)
    dev = tuning.dev.get("accuracy" if dealt.head else "loss")
    return Attempt(
        run_id=record.run_id,
        task=dealt.label,
        base=tuning.base,
        way=TUNE,
        label=tuning.label,
        head=dealt.head,
        n=data.splits.train.examples,
        is_all=dealt.n is None,
        draw=dealt.draw,
        rate=record.learning_rate,
        dev=None if dev is None or math.isnan(dev.value) else dev.value,
        rights=tuning.test_values if record.status == "done" else (),
        n_steps=record.n_steps,
        n_shots=None,
        notes=(),
        n_labels=len(data.labels),
        learn=Cost(record.n_tokens, None if step is None else step * record.n_steps),
        answer=answer,
    )
