"""What you see while a sweep runs: a live bar on a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from lora_jax.layout import SHARE
from lora_jax.percent import percent
from lora_jax.training.rows import Row, Source

LINE_SECONDS = 10.0  # without a terminal, the least time between two lines
SPEED_MEMORY = 0.9  # weight of the past in the moving average of tokens per second, at each reading
BELIEF = 0.1  # when this share of the plan is done, the measured pace counts as much as the plan
WIDEST_BAR, NARROWEST_BAR = 24, 6  # characters; a narrower bar says less than the percentage beside it


class Planned(Protocol):
    """A run whose cost the bar knows."""

    @property
    def run(self) -> Any: ...  # its configuration, hashable
    @property
    def run_id(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def finished(self) -> bool: ...
    @property
    def own_tokens(self) -> int: ...  # tokens that this run itself trains on, without a shared trunk
    @property
    def n_steps(self) -> int: ...
    @property
    def description(self) -> str: ...  # what the run is, in a word or two


class Progress:
    """Shows run k of n, the loss, tokens per second and the time left, from the plan and the pace so far.

    We count work in planned seconds. `_done` is the work that the sweep no longer needs. `_worked` is the
    part of it that this process did. A run that continued from a checkpoint needs less than its plan, so the
    rest says nothing about the pace. If runs train side by side, the first one that reports leads: we show
    where it stands, and the speed of all of them together.
    """

    def __init__(self, planned: Sequence[Planned]) -> None:
        pending = [item for item in planned if not item.finished]
        self._items = {item.run: item for item in pending}
        self._number = {item.run_id: number for number, item in enumerate(pending, 1)}
        self._seconds = {item.run_id: item.seconds for item in pending}
        self._total = sum(item.seconds for item in pending)
        self._done = self._worked = 0.0
        self._worked_elsewhere = 0.0  # work of other workers since then
        self._finished: set[str] = set()
        self._current: dict[str, float] = {}  # planned seconds that are done, of each run in training
        self._leader: Any = None
        self._unread_tokens = 0  # tokens trained since the leader's last report
        self._started = self._last_read = self._last_line = time.monotonic()
        self._speed: float | None = None
        self._display = _Bar() if sys.stderr.isatty() else None

    @contextmanager
    def showing(self) -> Generator["Progress"]:
        """Show the bar during the block, if there is a terminal."""
        if self._display is None:
            yield self
        else:
            with self._display.live:
                yield self

    def say(self, text: str) -> None:
        """Print one line that stays."""
        if self._display is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._display.live.console.print(text, highlight=False, markup=False)

    def begin(self, source: Source, step: int) -> None:
        """Do nothing. The bar waits for the first row of a stream."""

    def take(self, source: Source, row: Row) -> None:
        """Show where the run of a row stands."""
        self.advance(source.run, row.step, math.nan if row.loss is None else row.loss, row.new_tokens)

    def end(self, source: Source) -> None:
        """Do nothing. `finish_run` counts the run."""

    def advance(self, run: Any, steps: int, loss: float, tokens: int) -> None:
        """Count tokens that were trained since the last call, and show the progress.

        Args:
            run: The run.
            steps: Its steps so far.
            loss: Its loss.
            tokens: Tokens that it trained on since the last call.
        """
        now, item = time.monotonic(), self._items[run]
        work = item.seconds * tokens / max(1, item.own_tokens)
        self._worked += work
        self._current[item.run_id] = min(item.seconds, self._current.get(item.run_id, 0.0) + work)
        self._unread_tokens += tokens
        if self._leader is None:  # its first reading includes compilation and the evaluation before it
            self._leader = run
        elif run == self._leader:
            speed = self._unread_tokens / max(now - self._last_read, 1e-9)
            before = speed if self._speed is None else self._speed
            self._speed = SPEED_MEMORY * before + (1 - SPEED_MEMORY) * speed
        else:
            return
        self._last_read, self._unread_tokens = now, 0
        if self._display is not None:
            self._display.update(self.share(), self._describe(run, steps, loss))
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.say(f"{percent(self.share()):>5}  {self._describe(run, steps, loss)[0]}")

    def _describe(self, run: Any, steps: int, loss: float) -> list[str]:
        """Return the progress of a run in words, from the longest to the shortest text."""
        item = self._items[run]
        number, n, shape = self._number[item.run_id], len(self._items), item.description
        if len(self._current) > 1:
            shape += f" and {len(self._current) - 1} beside it"
        step = f"step {steps}/{item.n_steps}"
        speed = "" if self._speed is None else f"{self._speed:,.0f} tokens/s"
        short_speed = "" if self._speed is None else f"{format_short(self._speed)} tok/s"
        left = f"{format_duration(self.seconds_left())} left"
        parts = [
            (f"run {number} of {n}", shape, step, f"loss {loss:.3f}", speed, left),
            (f"run {number} of {n}", shape, f"loss {loss:.3f}", speed, left),
            (f"run {number} of {n}", f"loss {loss:.3f}", speed, left),
            (f"run {number} of {n}", f"loss {loss:.2f}", short_speed, left),
        ]
        return ["  ".join(part for part in words if part) for words in parts]

    def finish_run(self, run_id: str, text: str) -> None:
        """Count a run as done, even if it needed less than its plan, and print its line."""
        self._count(run_id)
        if self._leader is not None and self._items[self._leader].run_id == run_id:
            self._leader = None
        self.say(f"[{len(self._finished)}/{len(self._items)}] {text}")

    def _count(self, run_id: str) -> None:
        self._finished.add(run_id)
        self._done += self._seconds[run_id]
        self._current.pop(run_id, None)

    def finish_elsewhere(self, run_id: str) -> None:
        """Count a run that another worker has finished.

        A run that this process finished is already counted.
        """
        if run_id in self._finished:
            return
        self._count(run_id)
        self._worked_elsewhere += self._seconds[run_id]

    def share(self) -> float:
        """Return the share of the sweep's planned seconds that is done, from 0 to 1."""
        return min(1.0, (self._done + sum(self._current.values())) / self._total) if self._total else 1.0

    def seconds_left(self) -> float:
        """Return the remaining seconds of the plan at the pace so far.

        In the beginning the plan's own pace counts.
        """
        remaining = max(0.0, self._total - self._done - sum(self._current.values()))
        elapsed = time.monotonic() - self._started
        # We pretend that a tenth of the plan took the planned time, because the first reading is mostly
        # compilation.
        belief = BELIEF * self._total
        return (
            remaining * (elapsed + belief) / (self._worked + self._worked_elsewhere + belief)
            if belief
            else 0.0
        )


class _Bar:
    """A progress bar of rich. If the terminal is narrow, the bar makes way for the words."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._bar = BarColumn(bar_width=WIDEST_BAR)
        self._words = (TaskProgressColumn(SHARE), TextColumn("{task.description}"))
        self.live = Progress(self._bar, *self._words, console=Console(stderr=True))
        self._task = self.live.add_task("starting", total=1.0)

    def update(self, share: float, texts: Sequence[str]) -> None:
        """Show the first of `texts`, which go from long to short, that fits the terminal's width now."""
        room = self.live.console.width - len("100 % ")
        text = next((text for text in texts if len(text) <= room), texts[-1])
        self._bar.bar_width = min(WIDEST_BAR, room - len(text) - 1)
        bar = (self._bar,) if self._bar.bar_width >= NARROWEST_BAR else ()
        self.live.columns = (*bar, *self._words)
        self.live.update(self._task, completed=share, description=text)


def format_short(x: float) -> str:
    """Return a speed as 950, 12k or 1.2M."""
    for scale, unit in ((1e6, "M"), (1e3, "k")):
        if round(x) >= scale:
            return f"{x / scale:.1f}{unit}" if x < 10 * scale else f"{x / scale:.0f}{unit}"
    return f"{x:.0f}"


def format_duration(seconds: float) -> str:
    """Return seconds as 2m05s or 1h02m."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
