"""The types of backward.json: what a gradient costs compared with a forward pass.

Every field is a key of the document. `incontext_documents.py` writes and reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_jax.estimate import Estimate

KIND = "cost of a gradient"  # the kind of the document
FORMAT = 2  # the format that we write; files without a number are of format 1, and say no kind


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over rounds.

    Attributes:
        value: The mean.
        ci95: The ends of its 95 % interval.
    """

    value: float
    ci95: tuple[float, float]

    @property
    def estimate(self) -> Estimate:
        """The ratio as an `Estimate`."""
        return Estimate(self.value, None, self.ci95)


@dataclass(frozen=True)
class ProgramMemory:
    """Bytes of a compiled program, as XLA counts them.

    Attributes:
        temporary: What it needs while it runs.
        arguments: Its arguments.
        outputs: Its results.
    """

    temporary: int
    arguments: int
    outputs: int

    @property
    def total(self) -> int:
        """All bytes together."""
        return self.temporary + self.arguments + self.outputs


@dataclass(frozen=True)
class GradientCost:
    """What the loss and the gradient of one method cost.

    Attributes:
        label: The method's label.
        n_trainable: Its trainable parameters.
        forward_seconds: Time of the forward pass in every round.
        gradient_seconds: Time of the gradient in every round.
        time_ratio: Time of the gradient over that of the forward pass in the same round.
        vs_base: Time of the gradient over that of the base's forward pass, without the method's own weights.
        forward_bytes: Memory of the forward pass. None if XLA does not report it. The two ratios are then
            None as well.
        gradient_bytes: Memory of the gradient. None as above.
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
    """The costs of every method on one base and batch, as in backward.json.

    Attributes:
        kind: `KIND`.
        base: Name of the base.
        model: Its shape.
        settings: What was asked for, so that the same measurement is found again.
        batch_size: Sequences in the batch.
        seq_len: Tokens in a sequence.
        repeats: Number of rounds.
        methods: The methods.
        device: What it was measured on.
        versions: Versions of Python and of the libraries.
        git_commit: Commit of the code. None if it was not a checkout.
        format: Format of the document.
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
