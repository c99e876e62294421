"""Live files: the rows of every stream as they come, live/NAME.jsonl in the results folder.

We only ever append to a file. So a process that is killed leaves its rows. The first line says whose rows
they are. Then comes one row a line. A last line says that the stream has ended. A stream that continues after
a kill continues in its file. A step that is already there is not written again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lora_jax.documents import from_document, to_document
from lora_jax.errors import Damaged
from lora_jax.files import parse_json
from lora_jax.training.rows import Row, Source

FOLDER = "live"
ENDED = {"ended": True}  # the last line of a stream that came to its end


@dataclass(frozen=True)
class Head:
    """The first line of a live file, which says whose rows it holds.

    Attributes:
        run_ids: The runs that these rows belong to, as their beginning or as a whole.
        n_steps: Planned steps of the longest of them.
        beginning: Of a branch, the name of the trunk whose rows come before.
        from_step: The step at which the stream began.
    """

    run_ids: tuple[str, ...]
    n_steps: int
    beginning: str | None
    from_step: int


@dataclass(frozen=True)
class LiveRows:
    """What a live file holds now.

    Attributes:
        head: Whose rows they are.
        rows: The rows, by step.
        ended: Whether the stream came to its end.
    """

    head: Head
    rows: tuple[Row, ...]
    ended: bool

    @property
    def last_step(self) -> int:
        """The last step that has a row. If there is no row, the step at which the stream began."""
        return self.rows[-1].step if self.rows else self.head.from_step


@dataclass
class _Open:
    path: Path
    last_step: int


@dataclass
class LiveFiles:
    """The sink that keeps the rows of a sweep in its results folder.

    Attributes:
        folder: The results folder.
    """

    folder: Path
    _open: dict[str, _Open] = field(default_factory=dict)

    def begin(self, source: Source, step: int) -> None:
        """Open the file of a stream, or continue it."""
        path = live_path(self.folder, source.name)
        before = read_live(self.folder, source.name)
        if before is not None and before.ended and step == 0:  # it was trained to its end and starts again
            before = None
        if before is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, _head(source, step), anew=True)
            self._open[source.name] = _Open(path, step)
        else:
            _cut_torn_line(path)
            ids = tuple(dict.fromkeys([*before.head.run_ids, *source.run_ids]))  # finished ones as well
            head = replace(_head(source, before.head.from_step), run_ids=ids)
            if before.ended or before.head != head:
                _append(path, head)
            self._open[source.name] = _Open(path, before.last_step)

    def take(self, source: Source, row: Row) -> None:
        """Append a row, unless the file has its step already."""
        to = self._open[source.name]
        if row.step > to.last_step or (row.step == to.last_step and row.is_measured):
            _append(to.path, row)
            to.last_step = row.step

    def end(self, source: Source) -> None:
        """Append the last line."""
        _append(self._open.pop(source.name).path, ENDED)


def live_path(folder: Path, name: str) -> Path:
    """Return the path of a stream's live file in a results folder."""
    return folder / FOLDER / f"{name}.jsonl"


def read_live(folder: Path, name: str) -> LiveRows | None:
    """Read the live file of a stream. None if there is no file or no whole line in it.

    A line that is being written, or that a kill has torn, is left out.

    Raises:
        Damaged: A whole line of it is not one of ours.
    """
    path = live_path(folder, name)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    head: Head | None = None
    rows: dict[int, Row] = {}
    ended = False
    for number, line in enumerate(lines, 1):
        try:
            found = parse_json(line.decode())
            if found == ENDED:
                ended = True
            elif "run_ids" in found:
                head, ended = from_document(Head, found), False
            else:
                row = from_document(Row, found)
                rows[row.step] = row
        except (ValueError, TypeError) as error:
            raise Damaged(f"{path} is damaged in line {number}: delete it, nothing needs it.") from error
    return None if head is None else LiveRows(head, tuple(rows.values()), ended)


def read_run(folder: Path, live: LiveRows) -> tuple[Row, ...]:
    """Return the rows of a stream. For a branch, the rows of its trunk up to the branch come first."""
    if live.head.beginning is None:
        return live.rows
    trunk = read_live(folder, live.head.beginning)
    before = () if trunk is None else trunk.rows
    return (*(row for row in before if row.step <= live.head.from_step), *live.rows)


def _head(source: Source, from_step: int) -> Head:
    return Head(source.run_ids, source.n_steps, source.beginning, from_step)


def _append(path: Path, line: Head | Row | Mapping[str, bool], anew: bool = False) -> None:
    """Write one line in one call, so that a kill tears it at most at its end."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if anew else os.O_APPEND)
    handle = os.open(path, flags, 0o666)
    try:
        os.write(handle, (json.dumps(to_document(line), allow_nan=False) + "\n").encode())
    finally:
        os.close(handle)


def _cut_torn_line(path: Path) -> None:
    """Remove what a kill left of a line."""
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
