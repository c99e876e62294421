"""Which training examples a prompt shows, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks import Example
from lora_jax.errors import LoraJaxError
from lora_jax.ranges import Seed, check_fields, whole

WHICH, FIRST, ORDER = 0, 1, 2  # names of the shuffles


@dataclass(frozen=True)
class Shots:
    """The examples in a prompt.

    Attributes:
        k: How many there are.
        balanced: Whether to draw equally many of each label. If k is no multiple of the number of labels,
            some labels get one more.
        seed: Which examples are drawn.
        order: In which order they stand.
    """

    k: Annotated[int, whole(0, 10**6)]
    balanced: bool = False
    seed: Seed = 0
    order: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, "shots")


def draw_shots(train: Sequence[Example], shots: Shots, n_labels: int) -> tuple[Example, ...]:
    """Return k examples of `train`, in the order in which a prompt shows them.

    With one seed, a smaller k draws a subset of a larger k, balanced or not. But each k has an order of its
    own. Every order is a shuffle of the same examples, the first one too, because labels that take turns
    would be a special order.

    Args:
        train: The training examples.
        shots: How many to draw, and how.
        n_labels: Number of labels, to balance them.

    Raises:
        LoraJaxError: train, or a label, has fewer examples, or balanced shots have no labels.
    """
    if shots.k == 0:
        return ()
    if shots.balanced:
        drawn = _draw_balanced(train, shots, n_labels)
    else:
        if shots.k > len(train):
            raise LoraJaxError(
                f"shots.k is {shots.k} and the training set has {len(train)} examples: lower it to at most"
                " that."
            )
        key = order_key(shots.seed, WHICH)
        drawn = [train[i] for i in permute(np.arange(shots.k), len(train), key).tolist()]
    order = permute(np.arange(shots.k), shots.k, order_key(shots.seed, ORDER, shots.order))
    return tuple(drawn[i] for i in order.tolist())


def _draw_balanced(train: Sequence[Example], shots: Shots, n_labels: int) -> list[Example]:
    """Return the first k of an endless deal. The labels take turns, and each has a shuffle of its own."""
    if n_labels < 1:
        raise LoraJaxError("Balanced shots are of a task with labels, this one has none: leave it out.")
    turns = permute(np.arange(n_labels), n_labels, order_key(shots.seed, FIRST)).tolist()
    drawn: list[list[Example]] = []
    for label in range(n_labels):
        ours = [example for example in train if example.label == label]
        wanted = len(range(turns.index(label), shots.k, n_labels))
        if wanted > len(ours):
            raise LoraJaxError(
                f"shots.k is {shots.k}, balanced {wanted} of them of label {label}, and the training set has"
                f" {len(ours)} of that: lower it, or do not balance."
            )
        order = permute(np.arange(wanted), len(ours), order_key(shots.seed, WHICH, label)) if wanted else []
        drawn.append([ours[int(i)] for i in order])
    return [drawn[turns[i % n_labels]][i // n_labels] for i in range(shots.k)]
