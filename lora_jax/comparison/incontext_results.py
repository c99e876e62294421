"""What a comparison of in-context learning with fine-tuning found, as types: incontext.json.

Every field is a key of the document; `incontext_documents.py` writes and reads it. Whoever needs a result
takes these and no dictionary.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lora_jax.comparison.estimates import Estimators, Score
from lora_jax.documents import fields_to_document
from lora_jax.estimate import Estimate

KIND = "in-context learning against fine-tuning"  # of the document
FORMAT = 2  # of what is written; files without a number are of format 1
PROMPT, TUNE = "prompt", "tune"  # the two ways


@dataclass(frozen=True)
class Cost:
    """Tokens that went through the model, and seconds. Seconds are None if they were not timed."""

    tokens: float
    seconds: float | None


@dataclass(frozen=True)
class Point:
    """One way to learn at one number of examples n, over its draws.

    Attributes:
        is_all: Whether n is all the examples that there are.
        by_draw: Accuracy of each draw.
        rate: Learning rate that the dev split chose. None for a prompt.
        at_edge: Which end of the grid the rate is: "lowest", "highest" or "only". None inside, or for a
            prompt.
        n_steps: Steps of training. None for a prompt.
        n_shots: Number of examples in the prompts. None for fine-tuning.
        learn, answer: Mean tokens and median seconds over draws.
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
        label: "k-shot", "k-shot, calibrated", or the method.
        head: Whether a classifier's head answers.
    """

    way: str
    base: str
    label: str
    head: bool
    points: tuple[Point, ...]

    @property
    def is_prompt(self) -> bool:
        return self.way == PROMPT


@dataclass(frozen=True)
class BestPrompt:
    """The prompt of the highest test score of a task: its line (an index), number of examples and score."""

    line: int
    n: int
    score: Score


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A line's accuracy at n less the best prompt's, paired by test example and draw.

    Attributes:
        p: Two-sided.
        distinguishable: Whether the interval excludes zero.
        after_holm: Whether that still holds after correcting for all differences of the task.
    """

    n: int
    n_draws: int
    p: float
    distinguishable: bool
    after_holm: bool

    @property
    def is_above(self) -> bool:
        return self.value > 0

    def to_document(self) -> dict[str, Any]:
        """Return the fields, of how many examples and draws first."""
        document = fields_to_document(self)
        return {"n": document.pop("n"), "n_draws": document.pop("n_draws"), **document}


@dataclass(frozen=True)
class Crossing:
    """A fine-tuned line (by its index) beside the best prompt, and whether both have the same base.

    Attributes:
        passes_at: The smallest n from which on every point is distinguishably above. None if the last one is
            not.
    """

    line: int
    same_base: bool
    passes_at: int | None
    points: tuple[Difference, ...]


@dataclass(frozen=True)
class TaskComparison:
    """Every way to learn at one task.

    The best prompt is chosen by its test score, which favours it. A line that is above it is above it all the
    more.

    Attributes:
        chance: 1 / number of labels.
    """

    task: str
    n_test: int
    chance: float
    lines: tuple[Line, ...]
    crossings: tuple[Crossing, ...]
    best_prompt: BestPrompt | None

    @property
    def best_line(self) -> Line | None:
        return None if self.best_prompt is None else self.lines[self.best_prompt.line]


@dataclass(frozen=True)
class PublishedScores:
    """Accuracies in percent that others published for a task."""

    task: str
    few_shot: float
    fine_tuned: float


@dataclass(frozen=True)
class InContextComparison:
    """All that was compared: incontext.json. verdict and warnings: a sentence each."""

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
