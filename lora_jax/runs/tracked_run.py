"""What every tracker shows of a stream: the run that its rows belong to, and the rows under their names."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_jax.documents import to_document
from lora_jax.runs.metric_names import DEV, HELDOUT_LOSS, HELDOUT_LOSS_SE
from lora_jax.runs.sinks.live_file import read_live, read_run
from lora_jax.training.rows import Row, Source


@dataclass(frozen=True)
class TrackedRun:
    """The run of a tracker that takes the rows of a stream.

    Attributes:
        name: The run's id, or the name of a trunk.
        is_trunk: Whether it is a trunk of several runs.
        rows: What the live files hold of it now. For a branch they start with the trunk's rows.
    """

    name: str
    is_trunk: bool
    rows: tuple[Row, ...]


class SweepNotes:
    """What every tracker of a sweep keeps: its folder, the configs of its runs, and what it has said.

    Attributes:
        sweep: Name of the sweep.
        folder: The results folder.
        notes: Every line that was said.
    """

    def __init__(self, sweep: str, folder: Path, say: Callable[[str], None] | None) -> None:
        """Begin without notes.

        Args:
            sweep: Name of the sweep.
            folder: The results folder.
            say: Called with each note, one line. None prints to standard error.
        """
        self.sweep, self.folder = sweep, Path(folder)
        self.notes: list[str] = []
        self._say = say or (lambda line: print(line, file=sys.stderr))
        self._configs: Mapping[str, Mapping[str, Any]] = {}
        self._names: dict[str, str] = {}  # the name of the tracker's run, by the name of the stream

    def announce(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what is known of each run before it begins.

        Args:
            configs: By run_id, the config to show.
        """
        self._configs = configs

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self._say(line)


def find_tracked(folder: Path, source: Source) -> TrackedRun:
    """Return the run of a tracker that takes a stream's rows.

    A trunk of several runs has a tracker run of its own. It keeps it even when only one of its runs is left.
    """
    live = read_live(folder, source.name)
    run_ids = source.run_ids if live is None else live.head.run_ids
    is_trunk = len(run_ids) > 1
    name = source.name if is_trunk else next(iter(run_ids))
    return TrackedRun(name, is_trunk, () if live is None else read_run(folder, live))


def to_metrics(row: Row) -> dict[str, Any]:
    """Return what a row knows, under the names of a dashboard, without the step."""
    found: dict[str, Any] = to_document(row)
    found |= {f"{DEV}{name}": value for name, value in found.pop("scores", {}).items()}
    heldout = {"": row.heldout, **{f"/{k}": v for k, v in (row.heldout_by_source or {}).items()}}
    for name in ("step", "heldout", "heldout_by_source"):
        found.pop(name, None)
    for suffix, one in heldout.items():
        if one is not None:
            found[f"{HELDOUT_LOSS}{suffix}"] = one.loss
            found[f"{HELDOUT_LOSS_SE}{suffix}"] = one.standard_error
    return {name: value for name, value in found.items() if value is not None}
