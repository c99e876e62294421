"""What a person sees while a fit computes: the step, its share, the time left.

A terminal shows a bar after two seconds. A file, such as a cluster job's log, gets a line now and then.
"""

import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from lora_jax.layout import SHARE
from lora_jax.percent import percent
from lora_jax.runs.progress import format_duration
from lora_jax.scaling.progress import Watcher, listening

PATIENCE = 2.0  # seconds without a word on a terminal
REDRAW = 0.1  # seconds between two looks of the bar there
BETWEEN = 30.0  # seconds between two lines in a file
SEEN = 0.02  # share of a step that has to be done before its pace says anything


@contextmanager
def waiting() -> Generator[None]:
    """Show on standard error what is computed inside; on a terminal it leaves no trace."""
    wait = _Wait()
    watcher = Watcher(wait.show, PATIENCE) if sys.stderr.isatty() else Watcher(wait.write_line, BETWEEN)
    watcher.start()
    try:
        with listening(wait.take):
            yield
    finally:
        watcher.end()
        wait.end()


class _Wait:
    """The step that was last heard of, and its display once there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words, self._done, self._parts = "starting", 0, 0
        self._began = time.monotonic()
        self._bar: _Bar | None = None
        self._ended = False

    def take(self, words: str, done: int, parts: int) -> None:
        with self._lock:
            if words != self._words or done == 0:
                self._began = time.monotonic()
            self._words, self._done, self._parts = words, done, parts

    def show(self) -> float:
        """Show the bar; return the seconds until it is to be shown anew."""
        with self._lock:
            if not self._ended:
                self._bar = self._bar or _Bar()
                share = self._share()
                self._bar.update(share, self._describe(share))
        return REDRAW

    def write_line(self) -> float:
        """Write a line; return the seconds until the next."""
        with self._lock:
            if not self._ended:
                share = self._share()
                part = f"{percent(share)} of " if 0 < share < 1 else ""
                print(f"{part}{self._describe(share)}", file=sys.stderr, flush=True)
        return BETWEEN

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.live.stop()

    def _share(self) -> float:
        return self._done / self._parts if self._parts else 0.0

    def _describe(self, share: float) -> str:
        return describe(self._words, share, time.monotonic() - self._began)


class _Bar:
    """A bar of rich that takes itself away."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (BarColumn(bar_width=24), TaskProgressColumn(SHARE), TextColumn("{task.description}"))
        # no thread of its own: the Watcher draws it, and stands still where a process is forked
        self.live = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._task = self.live.add_task("", total=1.0)
        self.live.start()

    def update(self, share: float, text: str) -> None:
        self.live.update(self._task, completed=share, description=text, refresh=True)


def describe(words: str, share: float, seconds: float) -> str:
    """Return the step and the time left of it, at the pace of the seconds that its share took."""
    if not SEEN <= share < 1:
        return words
    return f"{words}  {format_duration(seconds * (1 - share) / share)} left"
