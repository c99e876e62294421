"""What a comparison of fine-tuning methods found, as types: comparison.json.

Every field is a key of the document of the same name, unless it says another; `documents.py` writes and reads
them. Whoever needs a result takes these and no dictionary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from lora_jax.comparison.estimates import Difference, Estimators, Score
from lora_jax.documents import Key, fields_to_document
from lora_jax.estimate import Estimate

KIND = "fine-tuning methods"  # of the document, which tells it from a comparison of laws
FORMAT = 2  # of what is written; files without a number are of format 1


@dataclass(frozen=True)
class TriedRate:
    """A learning rate that a method tried with the first seed.

    dev: the score on the dev split, None where the run diverged or was halted.
    """

    learning_rate: float
    run_id: str
    dev: Estimate | None
    diverged: bool


@dataclass(frozen=True, kw_only=True)
class ReferenceDifference(Difference):
    """A method's score less that of the reference.

    of: which quantity, the metric, or the loss as a mean over examples where the metric weighs tokens.
    paired: by seed and test example, over n_seeds that both have. after_holm: told apart at 5 % also when
    all differences of the sweep are counted.
    """

    reference: str
    of: str
    paired: bool
    n_seeds: int
    after_holm: bool

    def to_document(self) -> dict[str, Any]:
        """Return the fields and whether it is distinguishable, which follows from the interval."""
        keys = ("reference", "of", "paired", "n_seeds", "value", "se", "ci95", "p", "distinguishable")
        return _told(self, (*keys, "after_holm"))


@dataclass(frozen=True)
class MethodResult:
    """One method of a sweep.

    config: its configuration. n_trainable: without the new head's n_head. share: n_trainable over the base's
    size; flops_share: of a step, over full fine-tuning's. seconds_per_step: the median over runs, None where
    not timed. rates: ascending. best_rate: None where all diverged; at_edge: "lowest", "highest" or "only"
    where it is at an end of the grid. run_ids, seeds, scores: of the runs at the best rate, by seed; n_seeds
    and n_diverged: of that rate. score: None where no run finished. difference: None of the reference, and
    where there is no score.
    """

    label: str
    config: Annotated[Mapping[str, Any], Key("method")]
    n_trainable: int
    n_head: int
    flops_share: float
    optimizer_bytes: int
    share: float
    seconds_per_step: float | None
    rates: tuple[TriedRate, ...]
    best_rate: float | None
    at_edge: str | None
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    n_seeds: int
    n_diverged: int
    score: Score | None
    difference: ReferenceDifference | None

    @property
    def name(self) -> str:
        """The name of the method, such as "LoRA", which several of a sweep may share."""
        return self.config["method"]

    @property
    def finished_score(self) -> Score:
        """The score of a method that has one; raises ValueError where no run finished."""
        if self.score is None:
            raise ValueError(f"{self.label} has no score")
        return self.score

    @property
    def targets(self) -> tuple[str, ...]:
        """The matrices that a low-rank method adapts; raises KeyError for a method without."""
        return tuple(self.config["targets"])

    @property
    def rank(self) -> int:
        """The rank of a low-rank method; raises KeyError for a method without."""
        return self.config["rank"]

    @property
    def has_one_rank(self) -> bool:
        """Whether it is a low-rank method of named targets, all of one rank."""
        return "targets" in self.config and "rank" in self.config and not self.config.get("ranks")

    @property
    def is_full(self) -> bool:
        """Whether it is full fine-tuning."""
        return self.name == "Full"


@dataclass(frozen=True, kw_only=True)
class Contrast(Difference):
    """The mean score of some methods less that of others, by label: paired by seed and test example."""

    more: tuple[str, ...]
    less: tuple[str, ...]
    n_seeds: int

    def to_document(self) -> dict[str, Any]:
        """Return the fields and whether it is distinguishable, which follows from the interval."""
        return _told(self, ("more", "less", "value", "se", "ci95", "p", "n_seeds", "distinguishable"))


@dataclass(frozen=True, kw_only=True)
class SetPair(Contrast):
    """Two sets of a budget, by the labels of their methods: the better one, `label`, over the other.

    after_holm: told apart also when all pairs are counted.
    """

    label: str
    over: str
    after_holm: bool

    def to_document(self) -> dict[str, Any]:
        """Return the fields, the labels first, and whether it is distinguishable."""
        keys = ("label", "over", "more", "less", "value", "se", "ci95", "p", "n_seeds", "distinguishable")
        return _told(self, (*keys, "after_holm"))


@dataclass(frozen=True)
class TargetSet:
    """A set of matrices, and the method that adapts them."""

    label: str
    name: str
    rank: int
    n_trainable: int


@dataclass(frozen=True)
class Budget:
    """Sets of matrices that have about as many trainable parameters, n_least to n_most.

    sets: the best first. several_less_single: more than one matrix a block, less one. softmax_less_other: q
    or k alone, less one other matrix alone. pairs: of every two sets. What cannot be paired is None, or
    missing.
    """

    n_least: int
    n_most: int
    sets: tuple[TargetSet, ...]
    several_less_single: Contrast | None
    softmax_less_other: Contrast | None
    pairs: tuple[SetPair, ...]


@dataclass(frozen=True)
class RankLine:
    """One set of matrices by rank. growth: the largest rank less the smallest, None where not paired."""

    name: str
    labels: tuple[str, ...]
    ranks: tuple[int, ...]
    growth: Contrast | None


@dataclass(frozen=True)
class TargetSets:
    """Low-rank methods by what they adapt.

    of: what is paired, None where nothing can be. unit: "points" of a score from 0 to 1, in percent, or
    "nats". budget: None where fewer than three sets are of one size. ranks: of sets with three ranks and
    more.
    """

    of: str | None
    unit: str
    larger_is_better: bool
    budget: Budget | None
    ranks: tuple[RankLine, ...]
    sentences: tuple[str, ...]

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Every contrast there is."""
        found: list[Contrast | None] = []
        if self.budget is not None:
            budget = self.budget
            found += [budget.several_less_single, budget.softmax_less_other, *budget.pairs]
        found += [line.growth for line in self.ranks]
        return tuple(contrast for contrast in found if contrast is not None)

    def is_better(self, contrast: Contrast) -> bool:
        """Return whether the first of a contrast is better than the second."""
        return (contrast.value > 0) == self.larger_is_better


@dataclass(frozen=True)
class MethodComparison:
    """Methods of one sweep compared: comparison.json.

    base_fingerprint: of the base's weights. n_diverged: runs, of n_runs. first_seed: with which every rate
    was tried; seeds: every seed. reference: the label of what the others are compared with. methods: in
    the order of the sweep; ranking: their labels, the best first, those without a score left out.
    target_sets: where low-rank methods differ in their targets.
    """

    kind: str
    base: str
    base_fingerprint: str
    task: str
    metric: str
    larger_is_better: bool
    n_test: int
    n_runs: int
    n_diverged: int
    first_seed: int
    seeds: tuple[int, ...]
    reference: str
    estimator: Estimators
    methods: tuple[MethodResult, ...]
    ranking: tuple[str, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...]
    target_sets: TargetSets | None = None
    format: int = 1

    @property
    def by_label(self) -> dict[str, MethodResult]:
        return {method.label: method for method in self.methods}

    @property
    def ranked(self) -> tuple[MethodResult, ...]:
        """The methods that have a score, the best first."""
        by_label = self.by_label
        return tuple(by_label[label] for label in self.ranking)


def _told(number: Difference, keys: Sequence[str]) -> dict[str, Any]:
    document = {**fields_to_document(number), "distinguishable": number.distinguishable}
    return {key: document[key] for key in keys}
