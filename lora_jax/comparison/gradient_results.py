"""What a gradient costs beside a forward pass, as types: backward.json.

Every field is a key of the document; `incontext_documents.py` writes and reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_jax.estimate import Estimate

KIND = "cost of a gradient"  # of the document
FORMAT = 2  # of what is written; files without a number are of format 1, and say no kind


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over rounds and the ends of its 95 % interval."""

    value: float
    ci95: tuple[float, float]

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, None, self.ci95)


@dataclass(frozen=True)
class ProgramMemory:
    """XLA's bytes of a compiled program."""

    temporary: int
    arguments: int
    outputs: int

    @property
    def total(self) -> int:
        return self.temporary + self.arguments + self.outputs


@dataclass(frozen=True)
class GradientCost:
    """One method's loss and its gradient.

    forward_seconds, gradient_seconds: of every round. time_ratio: the gradient's time over the forward pass's
    of the same round. vs_base: that over the plain forward pass of the base, without the method's own
    weights. forward_bytes, gradient_bytes: None where XLA tells none, and then the ratios are None, too.
    memory_ratio: temporary bytes of the gradient over those of the forward pass. whole_ratio: temporary,
    arguments and outputs alike.
    """

    label: str
    n_trainable: int
    forward_seconds: tuple[float, ...]
    gradient_seconds: tuple[float, ...]
    time_ratio: Ratio
    vs_base: Ratio
    forward_bytes: ProgramMemory | None
    gradient_bytes: ProgramMemory | None
    memory_ratio: float | None
    whole_ratio: float | None


@dataclass(frozen=True)
class GradientCosts:
    """Every method on one base and batch: backward.json. settings: what was asked, to be found again."""

    kind: str
    base: str
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    batch_size: int
    seq_len: int
    repeats: int
    methods: tuple[GradientCost, ...]
    device: str
    versions: Mapping[str, Any]
    git_commit: str | None
    format: int = 1
