"""The types of incontext.json: what a comparison of in-context learning with fine-tuning found.

Every field is a key of the document. `incontext_documents.py` writes and reads it. Code that needs a result
takes these types and no dictionary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lora_jax.comparison.estimates import Estimators, Score
from lora_jax.documents import fields_to_document
from lora_jax.estimate import Estimate

KIND = "in-context learning against fine-tuning"  # the kind of the document
FORMAT = 2  # the format that we write; files without a number are of format 1
PROMPT, TUNE = "prompt", "tune"  # the two ways


@dataclass(frozen=True)
class Cost:
    """What learning or answering cost.

    Attributes:
        tokens: Tokens that went through the model.
        seconds: Time. None if it was not measured.
    """

    tokens: float
    seconds: float | None


@dataclass(frozen=True)
class Point:
    """One way to learn at one number of examples n, over its draws.

    Attributes:
        n: Number of examples.
        is_all: Whether these are all the examples that there are.
        run_ids: The runs, one for each draw.
        draws: The draws.
        score: Mean accuracy, with its interval over draws and test examples.
        by_draw: Accuracy of each draw.
        rate: Learning rate that the dev split chose. None for a prompt.
        at_edge: Which end of the grid the rate is at: "lowest", "highest" or "only". None inside the grid,
            and for a prompt.
        n_steps: Steps of training. None for a prompt.
        n_shots: Number of examples in the prompts. None for fine-tuning.
        learn: Cost of learning: mean tokens and median seconds over draws.
        answer: Cost of answering the test examples, in the same way.
        notes: What deserves a note, in sentences.
    """

    n: int
    is_all: bool
    run_ids: tuple[str, ...]
    draws: tuple[int, ...]
    score: Score
    by_draw: tuple[float, ...]
    rate: float | None
    at_edge: str | None
    n_steps: int | None
    n_shots: float | None
    learn: Cost
    answer: Cost
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One way to learn with one base, with its points by rising n.

    Attributes:
        way: PROMPT or TUNE.
        base: Name of the base.
        label: "k-shot", "k-shot, calibrated", or the method.
        head: Whether a classifier's head answers.
        points: The points.
    """

    way: str
    base: str
    label: str
    head: bool
    points: tuple[Point, ...]

    @property
    def is_prompt(self) -> bool:
        """Is this a line of prompts?"""
        return self.way == PROMPT


@dataclass(frozen=True)
class BestPrompt:
    """The prompt with the highest test score of a task.

    Attributes:
        line: Index of its line.
        n: Its number of examples.
        score: Its score.
    """

    line: int
    n: int
    score: Score


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A line's accuracy at n less the best prompt's, paired by test example and draw.

    Attributes:
        n: Number of examples.
        n_draws: Number of draws that are paired.
        p: Two-sided p value.
        distinguishable: Whether the interval excludes zero.
        after_holm: Whether it still does after correcting for all differences of the task.
    """

    n: int
    n_draws: int
    p: float
    distinguishable: bool
    after_holm: bool

    @property
    def is_above(self) -> bool:
        """Is the line above the best prompt?"""
        return self.value > 0

    def to_document(self) -> dict[str, Any]:
        """Return the fields, with the numbers of examples and draws first."""
        document = fields_to_document(self)
        return {"n": document.pop("n"), "n_draws": document.pop("n_draws"), **document}


@dataclass(frozen=True)
class Crossing:
    """A fine-tuned line compared with the best prompt.

    Attributes:
        line: Index of the line.
        same_base: Whether both have the same base.
        passes_at: The smallest n from which on every point is distinguishably above. None if the last one is
            not.
        points: The differences.
    """

    line: int
    same_base: bool
    passes_at: int | None
    points: tuple[Difference, ...]


@dataclass(frozen=True)
class TaskComparison:
    """Every way to learn one task.

    The best prompt is chosen by its test score, which favours it. So if a line is above it, the true
    difference is probably larger.

    Attributes:
        task: Name of the task.
        n_test: Number of test examples.
        chance: 1 / number of labels.
        lines: The ways to learn.
        crossings: The fine-tuned lines compared with the best prompt.
        best_prompt: The best prompt. None if no prompt was scored.
    """

    task: str
    n_test: int
    chance: float
    lines: tuple[Line, ...]
    crossings: tuple[Crossing, ...]
    best_prompt: BestPrompt | None

    @property
    def best_line(self) -> Line | None:
        """The line of the best prompt."""
        return None if self.best_prompt is None else self.lines[self.best_prompt.line]


@dataclass(frozen=True)
class PublishedScores:
    """Accuracies in percent that others published for a task.

    Attributes:
        task: Name of the task.
        few_shot: Accuracy of few-shot prompts.
        fine_tuned: Accuracy after fine-tuning.
    """

    task: str
    few_shot: float
    fine_tuned: float


@dataclass(frozen=True)
class InContextComparison:
    """Everything that was compared, as in incontext.json.

    Attributes:
        kind: `KIND`.
        n_prompts: Number of scored prompts.
        n_runs: Number of fine-tuning runs.
        n_diverged: Number of them that diverged.
        published: What others published.
        estimator: How scores and differences were estimated, in words.
        tasks: The tasks.
        verdict: What it comes to, in sentences.
        warnings: What weakens it, in sentences.
        format: Format of the document.
    """

    kind: str
    n_prompts: int
    n_runs: int
    n_diverged: int
    published: tuple[PublishedScores, ...]
    estimator: Estimators
    tasks: tuple[TaskComparison, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    format: int = 1

    @property
    def points(self) -> Iterator[tuple[TaskComparison, Line, Point]]:
        """Every point with its task and line."""
        return ((task, line, point) for task in self.tasks for line in task.lines for point in line.points)
