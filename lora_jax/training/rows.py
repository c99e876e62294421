"""What a run reports while it trains. Each run or trunk has one stream of rows, for whoever watches.

Nothing here changes what is trained. So who watches, and how closely, is not part of a run's identity.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lora_jax.training.heldout import HeldOut
from lora_jax.training.measuring import DEFAULT, NEVER, Measuring


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a run reports at a step.

    Attributes:
        step: Steps taken so far.
        n_tokens: Tokens trained on so far, without padding.
        new_tokens: Tokens that this process trained on since the row before.
        flops: FLOPs of training so far, forward and backward, counted exactly.
        loss: Mean training loss since the row before. None if a loss was not finite.
        learning_rate: Learning rate of the last step.
        gradient_norm: Mean L2 norm of the gradient since the row before, before clipping. None if it is not
            finite.
        update_ratio: RMS of the last update over RMS of the trainable weights. None while these are zero.
        tokens_per_second: This run's own speed since the row before. None if no step since then was timed,
            because each turn compiled something.
        flops_utilisation: FLOPs per second over the device's peak. None if no peak is known.
        device_memory_bytes: Memory in use on the first device. None if JAX does not report it, as on a CPU.
        data_seconds: Time spent waiting for batches since the row before.
        heldout: Held-out loss of these weights, if it was measured here. In fine-tuning it is the dev
            split's.
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
    """The run or trunk that a row comes from.

    Attributes:
        name: The id of a run or of a trunk. Each branch of a trunk has a source of its own.
        run: The configuration in training. On a trunk it is that of the next run to leave it.
        run_ids: The runs that these rows belong to, as their beginning or as a whole.
        n_steps: Planned steps of the longest of these runs.
        beginning: Of a branch, the name of the trunk whose rows come before.
    """

    name: str
    run: Any
    run_ids: tuple[str, ...]
    n_steps: int
    beginning: str | None = None


class Sink(Protocol):
    """Takes the rows of every stream."""

    def begin(self, source: Source, step: int) -> None:
        """Begin a stream, or continue it after `step` steps. Rows after that step may come a second time."""
        ...

    def take(self, source: Source, row: Row) -> None:
        """Take a row."""
        ...

    def end(self, source: Source) -> None:
        """End a stream. This is not called for a stream that is interrupted."""
        ...


class NoSink:
    """A sink that ignores all rows, because nobody watches."""

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
    """Return the value, or None if it is not finite."""
    return value if math.isfinite(value) else None


def mean(values: Sequence[float]) -> float | None:
    """Return the mean. None if it is not finite or there are no values."""
    return finite(sum(values) / len(values)) if values else None
