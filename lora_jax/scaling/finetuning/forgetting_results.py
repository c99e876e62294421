"""What is forgotten and what is learned, as types."""

from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.estimate import Estimate


@dataclass(frozen=True)
class ForgottenRun:
    """What a run learned and what it forgot.

    Attributes:
        loss: The loss on the target's test split.
        change: The loss on the base's own text after tuning less that before, with its interval by documents.
        best: Whether the run has the best rate of its cell.
        on_frontier: Whether no run of the same base and set is better in both: target loss and forgetting.
    """

    run_id: str
    method: str
    base: str
    n_params: int
    n_train: int
    finetune_tokens: int
    batch_size: int
    rank: int | None
    learning_rate: float
    seed: int
    loss: float
    change: Estimate
    best: bool
    on_frontier: bool


@dataclass(frozen=True)
class ForgettingLaw:
    """A power law of what a method forgets: change = A F^a N^b, at the best rates.

    Attributes:
        method: The method.
        exponents: Those of F and N, by letter, if they vary in its cells. Empty without a law.
        at: The change at the geometric mean of the cells. None without a law.
        scatter: Standard deviation of ln change around the law.
        n_cells: Cells behind it. Each is a mean over seeds.
        follows: Whether the method follows a power law: the scatter is small.
        words: The conclusion, a sentence.
    """

    method: str
    exponents: Mapping[str, Estimate]
    at: Estimate | None
    scatter: float | None
    n_cells: int
    follows: bool
    words: str


@dataclass(frozen=True)
class FrontierShare:
    """How often a method is on the frontier of target loss and forgetting.

    Attributes:
        n_places: Bases and sets that have the method and another one.
        n_on: Those in which a run of it is on the frontier.
        n_least_loss: Those in which it has the least target loss.
        n_least_forgotten: Those in which its best run forgets least of all methods' best runs.
    """

    method: str
    n_places: int
    n_on: int
    n_least_loss: int
    n_least_forgotten: int


@dataclass(frozen=True)
class Forgetting:
    """Forgetting of every method on one task.

    Attributes:
        source: The text that the bases know.
        runs: Every run that has both numbers.
        laws: A law for each method.
        shares: For each method.
    """

    source: str
    runs: tuple[ForgottenRun, ...]
    laws: tuple[ForgettingLaw, ...]
    shares: tuple[FrontierShare, ...]
