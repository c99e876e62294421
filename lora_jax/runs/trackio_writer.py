"""The process that writes to trackio. It reads orders from its standard input, one JSON object a line.

It is a process of its own for three reasons. trackio reads where its files go (TRACKIO_DIR) only once in the
life of a process. It keeps its open run in a global variable. And it prints. `trackio_tracker` starts this
file as a script, so it imports nothing of this package. If the process that trains is killed, the input ends,
and this process writes every row that it has.
"""

import contextvars
import importlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


class Writer:
    """The open runs of one project. Each method except `finish` carries out the order of its name."""

    def __init__(self, project: str) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        self._storage: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
        self._project = project
        self._runs: dict[str, Any] = {}
        self._last_steps: dict[str, int] = {}  # the last step that trackio has a row of

    def begin(self, run: str, group: str, config: dict[str, Any]) -> None:
        """Open a run, or continue the one of this name. Its config is written with its first row."""
        if run in self._runs:
            return

        def init() -> Any:  # needs a context without an open run, or trackio would end that run
            return self._trackio.init(
                self._project, name=run, group=group, config=config, resume="allow", embed=False
            )

        self._runs[run] = contextvars.Context().run(init)
        last = self._storage.get_max_step_for_run(self._project, run, run_id=self._runs[run].id)
        self._last_steps[run] = -1 if last is None else last

    def row(self, run: str, step: int, metrics: dict[str, Any]) -> None:
        """Write a row, unless trackio has it from an earlier process."""
        if step > self._last_steps[run]:
            self._runs[run].log(metrics, step=step)
            self._last_steps[run] = step

    def end(self, run: str, summary: dict[str, Any]) -> None:
        """End a run, and write what is known only at its end."""
        if summary:
            self._runs[run].log(summary, step=self._last_steps[run])
        del self._last_steps[run]
        self._runs.pop(run).finish()

    def tables(self, run: str, tables: dict[str, Any], figures: dict[str, str]) -> None:
        """Write tables and pictures at the next step of a run.

        Args:
            run: The run.
            tables: (columns, rows) by name.
            figures: Path of a picture by name.
        """
        content = {
            name: self._trackio.Table(columns=columns, data=rows) for name, (columns, rows) in tables.items()
        }
        content |= {name: self._trackio.Image(path) for name, path in figures.items()}
        self._runs[run].log(content)

    def finish(self) -> None:
        """End all open runs. A later process can continue them."""
        for run in list(self._runs):
            self.end(run, {})


def give_up(message: Warning | str, category: Any, filename: str, *_: Any) -> None:
    """End the process if trackio warns that it lost something. A warning is its only way to say so."""
    path = Path(filename)
    if path.name == "utils.py" and path.parent.name == "trackio":
        tell(message)
        os._exit(1)


def tell(reason: object) -> None:
    """Print the reason on one line of standard error, which the tracker reads."""
    print(" ".join(str(reason).split()), file=sys.stderr, flush=True)


def main() -> int:
    """Carry out all orders, and return the exit status."""
    warnings.showwarning = give_up
    try:
        writer = Writer(sys.argv[1])
        for line in sys.stdin:
            order: dict[str, Any] = json.loads(line)
            getattr(writer, order.pop("do"))(**order)
        writer.finish()
    except Exception as error:
        tell(f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
