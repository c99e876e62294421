"""The records that an in-context comparison reads, prompts/*.json and runs/*.json: what it takes from them.

Of a fine-tuning run that is a `TunedRun`, and which examples were dealt to it. What wrote the prompts needs
jax, and has types of its own (`prompting/incontext/records.py`).
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
    """One scoring of the test examples.

    Attributes:
        tokens: Tokens that went through the model.
    """

    tokens: Annotated[int, Key("n_tokens_run")]
    seconds: float


@dataclass(frozen=True)
class ScoredAnswers(Answers):
    """Answers with, of each test example, 1 where it is right and 0 where it is wrong."""

    rights: tuple[float, ...]


@dataclass(frozen=True)
class Template:
    """Of a prompt: the words of each label."""

    answers: tuple[Any, ...]


@dataclass(frozen=True)
class PromptTask:
    """Of a prompt's task."""

    prompt: Template


@dataclass(frozen=True)
class PromptConfig:
    """A prompt: k examples of a draw before the questions of a task.

    Attributes:
        task_settings: The task's config as it stands in the record.
    """

    base: str
    label: str
    task: PromptTask
    task_settings: Annotated[Mapping[str, Any], Key("task")]
    k: int
    draw: int


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made a record."""

    device: str
    versions: Mapping[str, Any]
    git_commit: str | None
    created_at: str


@dataclass(frozen=True, kw_only=True)
class ScoredPrompt(Provenance):
    """A scored prompt, also with calibration if that was asked.

    Attributes:
        settings: The prompt's config as it stands in the record.
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
        """What its answers took; the calibrated ones hold the plain ones."""
        answers = self.calibrated or self.plain
        return 0.0 if answers is None else answers.seconds


@dataclass(frozen=True)
class Dealt:
    """Which examples a run learned from.

    Attributes:
        n: Number of examples of the draw. None for all.
        answered: How the test examples were answered. None if a classifier's head answered.
    """

    label: str
    n: int | None
    draw: int
    head: bool
    answered: Answers | None = None


@dataclass(frozen=True)
class Split:
    """Of a split: its examples."""

    examples: int


@dataclass(frozen=True)
class Splits:
    """Of the splits: what was trained on."""

    train: Split


@dataclass(frozen=True)
class Rows:
    """Of a split as tokens."""

    tokens: int


@dataclass(frozen=True)
class Encoded:
    """Of the splits as tokens: what was tested on."""

    test: Rows


@dataclass(frozen=True)
class TunedData:
    """The data of a run."""

    labels: tuple[Any, ...]
    splits: Splits
    encoded: Encoded
    in_context: Dealt


@dataclass(frozen=True)
class DealtRun:
    """A fine-tuning run on dealt examples.

    Attributes:
        data: What `run.data` says about the examples.
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
        return self.way == PROMPT


def list_shots(record: ScoredPrompt) -> list[Attempt]:
    """Return one attempt for the plain way, and one for the calibrated where it was scored."""
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
    """Return the run of a record; raises as `run_from_document`, and Unreadable without dealt examples."""
    return DealtRun(run_from_document(record), from_document(TunedData, record.get("data"), "data"))


def read_tuned(dealt_run: DealtRun) -> Attempt:
    """Read one fine-tuning run. It has no `rights` if it diverged.

    Args:
        n: Number of rows, also where the run learned from all examples.
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
