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
    """What the loss and the gradient of one method cost.

    Attributes:
        forward_seconds, gradient_seconds: Time of every round.
        time_ratio: Time of the gradient over that of the forward pass in the same round.
        vs_base: Time of the gradient over that of the base's forward pass, without the method's own weights.
        forward_bytes, gradient_bytes: Memory of the two programs. None if XLA does not report it; the two
            ratios are then None as well.
        memory_ratio: Temporary memory of the gradient over that of the forward pass.
        whole_ratio: The same for temporary memory, arguments and outputs together.
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
    """Every method on one base and batch, as in backward.json.

    Attributes:
        settings: What was asked, so that the same measurement is found again.
    """

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
