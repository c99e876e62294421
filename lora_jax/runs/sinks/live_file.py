"""Live files: the rows of every stream as they come, live/NAME.jsonl in the results folder.

A file is only ever appended to, so that a process that is killed leaves its rows. Its first line says whose
rows they are, then there is a row a line, and a last line says that the stream has ended. A stream that goes
on after a kill goes on in its file: a step that is there already is not written again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_jax.errors import Damaged
from lora_jax.files import parse_json
from lora_jax.training.evaluate import HeldOut
from lora_jax.training.rows import Row, Source

FOLDER = "live"
_PLAIN = (
    "step", "n_tokens", "new_tokens", "flops", "loss", "learning_rate", "gradient_norm", "update_ratio",
    "tokens_per_second", "flops_utilisation", "device_memory_bytes", "data_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class LiveRows:
    """What a live file holds.

    Attributes:
        run_ids: The runs whose beginning or whole these rows are.
        n_steps: Planned steps.
        beginning: Name of the trunk whose rows come before, for a branch.
        from_step: The step at which the stream began.
        rows: The rows, by step.
        ended: Whether the stream came to its end.
    """

    run_ids: tuple[str, ...]
    n_steps: int
    beginning: str | None
    from_step: int
    rows: tuple[Row, ...]
    ended: bool

    @property
    def last_step(self) -> int:
        """The last step of which there is a row; the step of the beginning where there is none."""
        return self.rows[-1].step if self.rows else self.from_step


@dataclass
class _Open:
    path: Path
    last_step: int


@dataclass
class LiveFiles:
    """The sink that keeps the rows of a sweep in its results folder."""

    folder: Path
    _open: dict[str, _Open] = field(default_factory=dict)

    def begin(self, source: Source, step: int) -> None:
        path = live_path(self.folder, source.name)
        before = read_live(self.folder, source.name)
        if before is not None and before.ended and step == 0:  # it was trained to its end, and is anew
            before = None
        if before is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, _head(source, step), anew=True)
            self._open[source.name] = _Open(path, step)
        else:
            _cut_torn_line(path)
            if before.run_ids != source.run_ids or before.ended:
                _append(path, _head(source, before.from_step))
            self._open[source.name] = _Open(path, before.last_step)

    def take(self, source: Source, row: Row) -> None:
        to = self._open[source.name]
        if row.step > to.last_step or (row.step == to.last_step and _is_measured(row)):
            _append(to.path, row_to_json(row))
            to.last_step = row.step

    def end(self, source: Source) -> None:
        _append(self._open.pop(source.name).path, {"ended": True})


def live_path(folder: Path, name: str) -> Path:
    """Return where the rows of a stream lie in a results folder."""
    return folder / FOLDER / f"{name}.jsonl"


def read_live(folder: Path, name: str) -> LiveRows | None:
    """Return what the live file of a stream holds by now, None where there is none.

    A line that is being written, or that a kill has torn, is left out.

    Raises:
        Damaged: a whole line of it is not one of ours.
    """
    path = live_path(folder, name)
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    head: Mapping[str, Any] | None = None
    rows: dict[int, Row] = {}
    ended = False
    for number, line in enumerate(lines, 1):
        try:
            found = parse_json(line.decode())
            if "ended" in found:
                ended = True
            elif "run_ids" in found:
                head, ended = found, False
            else:
                row = row_from_json(found)
                rows[row.step] = row
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(
                f"{path}, line {number}, is damaged: delete that file, nothing needs it."
            ) from error
    if head is None:
        return None
    return LiveRows(
        tuple(head["run_ids"]),
        head["n_steps"],
        head["beginning"],
        head["from_step"],
        tuple(rows.values()),
        ended,
    )


def read_run(folder: Path, live: LiveRows) -> tuple[Row, ...]:
    """Return the rows of a stream behind those of the trunk that it left, up to there."""
    if live.beginning is None:
        return live.rows
    trunk = read_live(folder, live.beginning)
    before = () if trunk is None else tuple(row for row in trunk.rows if row.step <= live.from_step)
    return (*before, *live.rows)


def row_to_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON holds it; what is not known is left out."""
    found: dict[str, Any] = {name: getattr(row, name) for name in _PLAIN}
    if row.heldout is not None:
        found["heldout_loss"] = row.heldout.loss
        found["heldout_loss_se"] = row.heldout.standard_error
    if row.heldout_by_source:
        found["heldout_by_source"] = {
            name: [one.loss, one.standard_error] for name, one in row.heldout_by_source.items()
        }
    if row.scores:
        found["scores"] = dict(row.scores)
    return {name: value for name, value in found.items() if value is not None}


def row_from_json(found: Mapping[str, Any]) -> Row:
    """Return the row that `row_to_json` gave; KeyError or TypeError for another object."""
    loss = found.get("heldout_loss")
    return Row(
        **{name: found.get(name) for name in _PLAIN},
        heldout=None if loss is None else HeldOut(loss, found.get("heldout_loss_se")),
        heldout_by_source={
            name: HeldOut(*pair) for name, pair in found.get("heldout_by_source", {}).items()
        },
        scores=found.get("scores", {}),
    )  # fmt: skip


def _head(source: Source, from_step: int) -> dict[str, Any]:
    return {
        "run_ids": list(source.run_ids),
        "n_steps": source.n_steps,
        "beginning": source.beginning,
        "from_step": from_step,
    }


def _is_measured(row: Row) -> bool:
    return row.heldout is not None or bool(row.scores)


def _append(path: Path, found: Mapping[str, Any], anew: bool = False) -> None:
    """Write one line at once, so that no other process reads half of it for long."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if anew else os.O_APPEND)
    handle = os.open(path, flags, 0o666)
    try:
        os.write(handle, (json.dumps(found, allow_nan=False) + "\n").encode())
    finally:
        os.close(handle)


def _cut_torn_line(path: Path) -> None:
    """Take away what a kill left of a line."""
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
