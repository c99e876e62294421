"""The types of comparison.json: what a comparison of fine-tuning methods found.

Every field is a key of the document with the same name, unless it says another. `documents.py` writes and
reads them. Code that needs a result takes these types and no dictionary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from lora_jax.comparison.estimates import Difference, Estimators, Score
from lora_jax.documents import Key, fields_to_document
from lora_jax.estimate import Estimate

KIND = "fine-tuning methods"  # the kind of the document, which tells it from a comparison of laws
FORMAT = 2  # the format that we write; files without a number are of format 1


@dataclass(frozen=True)
class TriedRate:
    """A learning rate that a method tried with the first seed.

    Attributes:
        learning_rate: The rate.
        run_id: The run that tried it.
        dev: Score on the dev split. None if the run diverged or was halted.
        diverged: Whether the run diverged.
    """

    learning_rate: float
    run_id: str
    dev: Estimate | None
    diverged: bool


@dataclass(frozen=True, kw_only=True)
class ReferenceDifference(Difference):
    """A method's score less that of the reference.

    Attributes:
        reference: Label of the reference.
        of: The quantity that is compared: the metric, or the mean loss over examples if the metric weighs
            tokens.
        paired: Whether it is paired by seed and test example.
        n_seeds: Number of seeds that both have.
        after_holm: Whether the two are distinguishable at 5 % after correcting for all differences of the
            sweep.
    """

    reference: str
    of: str
    paired: bool
    n_seeds: int
    after_holm: bool

    def to_document(self) -> dict[str, Any]:
        """Return the fields, and whether it is distinguishable, which follows from the interval."""
        keys = ("reference", "of", "paired", "n_seeds", "value", "se", "ci95", "p", "distinguishable")
        return _told(self, (*keys, "after_holm"))


@dataclass(frozen=True)
class MethodResult:
    """One method of a sweep.

    Attributes:
        label: Its label.
        config: Its configuration.
        n_trainable: Trainable parameters without those of a new head.
        n_head: Parameters of a new head.
        flops_share: FLOPs of a step over those of full fine-tuning.
        optimizer_bytes: Bytes of the optimizer's state.
        share: n_trainable over the base's size.
        seconds_per_step: Median over runs. None if no run was timed.
        rates: The learning rates, ascending.
        best_rate: The rate with the best dev score. None if all runs diverged.
        at_edge: "lowest", "highest" or "only" if the best rate is at an end of the grid. Otherwise None.
        run_ids: The finished runs at the best rate, by seed.
        seeds: Their seeds.
        scores: Their test scores.
        n_seeds: Number of finished runs at the best rate.
        n_diverged: Number of runs at the best rate that did not finish.
        score: Mean test score. None if no run finished.
        difference: Difference from the reference. None for the reference, and if there is no score.
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
        """The score of a method that has one.

        Raises:
            ValueError: No run finished.
        """
        if self.score is None:
            raise ValueError(f"{self.label} has no score")
        return self.score

    @property
    def targets(self) -> tuple[str, ...]:
        """The matrices that a low-rank method adapts.

        Raises:
            KeyError: The method has no targets.
        """
        return tuple(self.config["targets"])

    @property
    def rank(self) -> int:
        """The rank of a low-rank method.

        Raises:
            KeyError: The method has no rank.
        """
        return self.config["rank"]

    @property
    def has_one_rank(self) -> bool:
        """Whether it is a low-rank method with named targets that all have one rank."""
        return "targets" in self.config and "rank" in self.config and not self.config.get("ranks")

    @property
    def is_full(self) -> bool:
        """Whether it is full fine-tuning."""
        return self.name == "Full"


@dataclass(frozen=True, kw_only=True)
class Contrast(Difference):
    """The mean score of some methods less that of others, paired by seed and test example.

    Attributes:
        more: Labels of the first methods.
        less: Labels of the others.
        n_seeds: Number of seeds that all of them have.
    """

    more: tuple[str, ...]
    less: tuple[str, ...]
    n_seeds: int

    def to_document(self) -> dict[str, Any]:
        """Return the fields, and whether it is distinguishable, which follows from the interval."""
        return _told(self, ("more", "less", "value", "se", "ci95", "p", "n_seeds", "distinguishable"))


@dataclass(frozen=True, kw_only=True)
class SetPair(Contrast):
    """Two sets of matrices of one budget.

    Attributes:
        label: Label of the better method.
        over: Label of the other method.
        after_holm: Whether they are distinguishable after correcting for all pairs.
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
    """A set of matrices, and the method that adapts them.

    Attributes:
        label: Label of the method.
        name: Name of the set, such as "qv".
        rank: The rank.
        n_trainable: Trainable parameters.
    """

    label: str
    name: str
    rank: int
    n_trainable: int


@dataclass(frozen=True)
class Budget:
    """Sets of matrices with about the same number of trainable parameters.

    Contrasts that cannot be paired are None. Pairs that cannot be paired are missing.

    Attributes:
        n_least: The smallest number of trainable parameters.
        n_most: The largest.
        sets: The sets, the best first.
        several_less_single: Score of sets with more than one matrix in a block, less that of single matrices.
        softmax_less_other: Score of q or k alone, less that of other single matrices.
        pairs: The comparison of every two sets.
    """

    n_least: int
    n_most: int
    sets: tuple[TargetSet, ...]
    several_less_single: Contrast | None
    softmax_less_other: Contrast | None
    pairs: tuple[SetPair, ...]


@dataclass(frozen=True)
class RankLine:
    """One set of matrices at several ranks.

    Attributes:
        name: Name of the set.
        labels: Labels of the methods, by rank.
        ranks: The ranks, ascending.
        growth: Score at the largest rank less that at the smallest. None if they cannot be paired.
    """

    name: str
    labels: tuple[str, ...]
    ranks: tuple[int, ...]
    growth: Contrast | None


@dataclass(frozen=True)
class TargetSets:
    """Low-rank methods compared by the matrices that they adapt.

    Attributes:
        of: The quantity that is paired. None if nothing can be paired.
        unit: "points" for a score from 0 to 1 in percent, or "nats".
        larger_is_better: Whether a larger score is better.
        budget: Sets of one size. None if fewer than three sets have one size.
        ranks: The sets that were trained at three or more ranks.
        sentences: What it comes to, in sentences.
    """

    of: str | None
    unit: str
    larger_is_better: bool
    budget: Budget | None
    ranks: tuple[RankLine, ...]
    sentences: tuple[str, ...]

    @property
    def contrasts(self) -> tuple[Contrast, ...]:
        """All contrasts."""
        found: list[Contrast | None] = []
        if self.budget is not None:
            budget = self.budget
            found += [budget.several_less_single, budget.softmax_less_other, *budget.pairs]
        found += [line.growth for line in self.ranks]
        return tuple(contrast for contrast in found if contrast is not None)

    def is_better(self, contrast: Contrast) -> bool:
        """Is the first of a contrast better than the second?"""
        return (contrast.value > 0) == self.larger_is_better


@dataclass(frozen=True)
class MethodComparison:
    """The methods of one sweep compared, as in comparison.json.

    Attributes:
        kind: `KIND`.
        base: Name of the base.
        base_fingerprint: Fingerprint of the base's weights.
        task: Name of the task.
        metric: The score by which methods are compared.
        larger_is_better: Whether a larger score is better.
        n_test: Number of test examples.
        n_runs: Number of runs.
        n_diverged: Number of the runs that diverged.
        first_seed: The seed with which every learning rate was tried.
        seeds: Every seed.
        reference: Label of the method that the others are compared with.
        estimator: How scores and differences were estimated, in words.
        methods: The methods, in the order of the sweep.
        ranking: Labels of the methods that have a score, the best first.
        verdict: What it comes to, in sentences.
        warnings: What weakens it, in sentences.
        target_sets: Set if low-rank methods differ in their targets.
        format: Format of the document.
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
        """The methods by label."""
        return {method.label: method for method in self.methods}

    @property
    def ranked(self) -> tuple[MethodResult, ...]:
        """The methods that have a score, the best first."""
        by_label = self.by_label
        return tuple(by_label[label] for label in self.ranking)


def _told(number: Difference, keys: Sequence[str]) -> dict[str, Any]:
    document = {**fields_to_document(number), "distinguishable": number.distinguishable}
    return {key: document[key] for key in keys}
