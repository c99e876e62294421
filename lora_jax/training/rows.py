"""What a run tells while it trains: rows, one stream for each run or trunk, taken by whoever watches.

Nothing here changes what is trained. Who watches, and how closely, is therefore not part of a run's identity.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lora_jax.training.heldout import HeldOut
from lora_jax.training.measuring import DEFAULT, NEVER, Measuring


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a run tells of itself at a step.

    Attributes:
        step: Steps taken so far.
        n_tokens: Tokens trained on so far, without padding.
        new_tokens: Those of them since the row before, in this process.
        flops: FLOPs of training so far, forward and backward, counted exactly.
        loss: Mean training loss since the row before. None if a loss was not finite.
        learning_rate: Of the last step.
        gradient_norm: Mean L2 norm of the gradient since the row before, before it is clipped.
        update_ratio: RMS of the last update over RMS of the weights that train. None while these are zero.
        tokens_per_second: This run's own speed since the row before. None if something was compiled.
        flops_utilisation: FLOPs per second over the device's peak. None if no peak is known.
        device_memory_bytes: Memory in use on the first device. None if JAX does not tell it, as on a CPU.
        data_seconds: Time spent waiting for batches since the row before.
        heldout: Held-out loss of these weights, if it was measured here. In fine-tuning, the dev split's.
        heldout_by_source: The same for each source of a mixture.
        scores: Other scores of the dev split, by name.
    """

    step: int
    n_tokens: int
    new_tokens: int
    flops: float
    learning_rate: float
    data_seconds: float
    loss: float | None = None
    gradient_norm: float | None = None
    update_ratio: float | None = None
    tokens_per_second: float | None = None
    flops_utilisation: float | None = None
    device_memory_bytes: int | None = None
    heldout: HeldOut | None = None
    heldout_by_source: Mapping[str, HeldOut] | None = None
    scores: Mapping[str, float] | None = None

    @property
    def is_measured(self) -> bool:
        """Was a held-out loss or a score measured at this step?"""
        return self.heldout is not None or bool(self.scores)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whose rows they are.

    Attributes:
        name: A run's id, or that of a trunk, of which each branch has rows of its own.
        run: The configuration in training. On a trunk, that of the next run to leave it.
        run_ids: The runs whose beginning or whole these rows are.
        n_steps: Planned steps of the longest of them.
        beginning: Name of the trunk whose rows come before, for a branch.
    """

    name: str
    run: Any
    run_ids: tuple[str, ...]
    n_steps: int
    beginning: str | None = None


class Sink(Protocol):
    """Takes the rows of every stream."""

    def begin(self, source: Source, step: int) -> None:
        """A stream begins, or goes on after `step` steps: rows behind that step may come a second time."""
        ...

    def take(self, source: Source, row: Row) -> None: ...

    def end(self, source: Source) -> None:
        """The stream has come to its end; one that is interrupted has none."""
        ...


class NoSink:
    """Nobody watches."""

    def begin(self, source: Source, step: int) -> None: ...
    def take(self, source: Source, row: Row) -> None: ...
    def end(self, source: Source) -> None: ...


NOBODY: Sink = NoSink()


@dataclass(frozen=True, kw_only=True)
class Watching:
    """Who watches training, and how closely.

    Attributes:
        sink: Takes the rows.
        measuring: When the held-out loss of a pretraining run is measured.
        row_seconds: Largest time between two rows.
        peak_flops: Peak FLOPs per second of the devices together. None if it is not known.
    """

    sink: Sink = NOBODY
    measuring: Measuring = DEFAULT
    row_seconds: float = 2.0
    peak_flops: float | None = None


UNWATCHED = Watching(measuring=NEVER)


def finite(value: float) -> float | None:
    """Return the value, or None where it is no finite number."""
    return value if math.isfinite(value) else None


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or None where it is no finite number or there is nothing to average."""
    return finite(sum(values) / len(values)) if values else None
