"""What a person sees while a sweep runs: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lora_jax.config import RunConfig
from lora_jax.runs.plan import PlannedRun

LINE_SECONDS = 10.0  # without a terminal, a line at least this far from the one before
SPEED_MEMORY = 0.9  # of the moving average of tokens per second, per reading
BELIEF = 0.1  # of the plan: how much of it has to be done before the pace counts for more than the plan


class Progress:
    """Run k of n, loss, tokens per second, and the time left, from the plan and the pace so far.

    Work is counted in planned seconds. `done` is what the sweep no longer needs, of which `worked` was done
    here: a run that went on from a checkpoint needs less than its plan, and says nothing about the pace.
    """

    def __init__(self, planned: Sequence[PlannedRun]) -> None:
        pending = [item for item in planned if not item.finished]
        self._items = {item.run: item for item in pending}
        self._number = {item.run_id: number for number, item in enumerate(pending, 1)}
        self._seconds = {item.run_id: item.seconds for item in pending}
        self._total = sum(item.seconds for item in pending)
        self._done = self._current = self._worked = 0.0
        self._run: RunConfig | None = None
        self._started = self._last_read = self._last_line = time.monotonic()
        self._speed: float | None = None
        self._display = _Bar() if sys.stderr.isatty() else None

    @contextmanager
    def showing(self) -> Iterator["Progress"]:
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

    def advance(self, run: RunConfig, steps: int, loss: float, tokens: int) -> None:
        """Take in `tokens` trained since the last call, and show where things stand."""
        now, item = time.monotonic(), self._items[run]
        if run == self._run:  # the first reading of a run has compilation and the evaluation before it in it
            speed = tokens / max(now - self._last_read, 1e-9)
            before = speed if self._speed is None else self._speed
            self._speed = SPEED_MEMORY * before + (1 - SPEED_MEMORY) * speed
        self._run, self._last_read = run, now
        work = item.seconds * tokens / max(1, item.own_steps * run.tokens_per_step)
        self._worked += work
        self._current = min(item.seconds, self._current + work)
        speed_text = "" if self._speed is None else f"  {self._speed:,.0f} tokens/s"
        text = (
            f"run {self._number[item.run_id]} of {len(self._items)}"
            f"  d{run.model.d_model}x{run.model.n_layers} seed {run.seed}"
            f"  step {steps}/{run.n_steps}  loss {loss:.3f}{speed_text}"
            f"  {format_duration(self.seconds_left())} left"
        )
        if self._display is not None:
            self._display.update(self.share(), text)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.say(f"{self.share():4.0%}  {text}")

    def finish_run(self, run_id: str, text: str) -> None:
        """Count a run as done, however little of its plan it needed, and print its line."""
        self._done += self._seconds[run_id]
        self._current = 0.0
        self.say(f"[{self._number[run_id]}/{len(self._items)}] {text}")

    def share(self) -> float:
        """Return how much of the sweep's planned seconds is done, from 0 to 1."""
        return min(1.0, (self._done + self._current) / self._total) if self._total else 1.0

    def seconds_left(self) -> float:
        """Return the plan's remaining seconds at the pace so far, which is the plan's own to begin with."""
        remaining = max(0.0, self._total - self._done - self._current)
        elapsed = time.monotonic() - self._started
        # As if a tenth of the plan had been seen to hold: the first reading has little but compilation in it.
        belief = BELIEF * self._total
        return remaining * (elapsed + belief) / (self._worked + belief) if belief else 0.0


class _Bar:
    """A rich progress bar."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (BarColumn(bar_width=24), TaskProgressColumn(), TextColumn("{task.description}"))
        self.live = Progress(*columns, console=Console(stderr=True))
        self._task = self.live.add_task("starting", total=1.0)

    def update(self, share: float, text: str) -> None:
        self.live.update(self._task, completed=share, description=text)


def format_duration(seconds: float) -> str:
    """Return seconds as 2m05s or 1h02m."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"
