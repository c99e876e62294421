"""The rows of one run or trunk. A stream gathers them turn by turn and gives them to a sink when due."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax

from lora_jax.training.heldout import HeldOut
from lora_jax.training.history import LossHistory
from lora_jax.training.rows import Row, Source, Watching, finite, mean
from lora_jax.training.side_by_side import StepResult

# Early rows come sooner than every `row_seconds`, so that a short run has a curve as well. One comes after
# this many seconds if the number of steps has grown by this factor since the row before.
SOONEST_SECONDS, SOONEST_GROWTH = 0.25, 1.05


@dataclass
class _Since:
    """What was gathered since the row before."""

    step: int  # the step of that row
    at: float  # when that row was given, by the monotonic clock
    gradient_norms: list[float] = field(default_factory=list)
    tokens: int = 0
    timed_tokens: int = 0
    timed_seconds: float = 0.0
    data_seconds: float = 0.0


class Stream:
    """The rows of one run or trunk, from the turns of its training to the sink."""

    def __init__(
        self,
        source: Source,
        watching: Watching,
        history: LossHistory,
        flops_per_token: float,
        rate_at: Callable[[int], float],
    ) -> None:
        """Begin at the last step of a history.

        Args:
            source: Whose rows they are.
            watching: Who takes the rows, and how often.
            history: The run's losses so far. The run adds to it.
            flops_per_token: FLOPs of training per token, forward and backward.
            rate_at: Returns the learning rate of a step, counted from 0.
        """
        self.source, self._watching, self._history = source, watching, history
        self._flops_per_token, self._rate_at = flops_per_token, rate_at
        self._from_step, self._n_tokens = len(history.losses), sum(history.tokens)
        self._since = _Since(self._from_step, time.monotonic())
        self._update_ratio: float | None = None
        watching.sink.begin(source, len(history.losses))

    def lead(self, run: Any) -> None:
        """Continue for another run of the same trunk, after one has left it."""
        self.source = replace(self.source, run=run)

    def take(self, taken: StepResult, tokens: int, hold: bool) -> None:
        """Add a turn of steps, and give a row if one is due. The history must have the turn already.

        Args:
            taken: The turn.
            tokens: Tokens that it trained on.
            hold: Whether to give no row, because the caller is about to call `tell` at this step.
        """
        since = self._since
        since.gradient_norms += taken.gradient_norms
        since.tokens += tokens
        self._n_tokens += tokens
        since.data_seconds += taken.data_seconds
        self._update_ratio = finite(taken.update_ratios[-1])
        if taken.seconds is not None:
            since.timed_tokens += tokens
            since.timed_seconds += taken.seconds
        if not hold and self._is_due():
            self.tell()

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._since.at
        if waited >= self._watching.row_seconds or self._history.diverged_at is not None:
            return True
        before, now = (step - self._from_step for step in (self._since.step, len(self._history.losses)))
        return waited >= SOONEST_SECONDS and now >= SOONEST_GROWTH * before

    def tell(
        self,
        heldout: HeldOut | None = None,
        heldout_by_source: Mapping[str, HeldOut] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Give a row with the steps since the row before and what was measured at this step.

        A held-out loss that is not finite is left out. The weights may have diverged already although the
        training loss does not show it yet.

        Args:
            heldout: The held-out loss, if it was measured.
            heldout_by_source: The same for each source of a mixture.
            scores: Other scores, by name.
        """
        if heldout is not None and not math.isfinite(heldout.loss):
            heldout = heldout_by_source = None
        since, history, step = self._since, self._history, len(self._history.losses)
        is_measured = heldout is not None or bool(scores)
        if step == 0 or (step == since.step and not is_measured):
            return
        speed = since.timed_tokens / since.timed_seconds if since.timed_seconds else None
        peak, n_tokens = self._watching.peak_flops, self._n_tokens
        row = Row(
            step=step,
            n_tokens=n_tokens,
            new_tokens=since.tokens,
            flops=n_tokens * self._flops_per_token,
            loss=mean(history.losses[min(since.step, step - 1) :]),
            learning_rate=self._rate_at(step - 1),
            gradient_norm=mean(since.gradient_norms),
            update_ratio=self._update_ratio,
            tokens_per_second=speed,
            flops_utilisation=speed * self._flops_per_token / peak if speed and peak else None,
            device_memory_bytes=_memory_in_use(),
            data_seconds=since.data_seconds,
            heldout=heldout,
            heldout_by_source=heldout_by_source or None,
            scores=scores or None,
        )
        self._since = _Since(step, time.monotonic())
        self._watching.sink.take(self.source, row)

    def end(
        self, heldout: HeldOut | None = None, heldout_by_source: Mapping[str, HeldOut] | None = None
    ) -> None:
        """Give the last row, with the final held-out loss if there is one, and end the stream."""
        self.tell(heldout, heldout_by_source)
        self._watching.sink.end(self.source)


def _memory_in_use() -> int | None:
    """Return the bytes in use on the first device. None if JAX does not report them."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("bytes_in_use")
