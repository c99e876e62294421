"""What became of a run: the status column that a tracker wrote, and which of its words count as done."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.reading import Rows
from lora_jax.scaling.tables.where import Condition

COLUMNS = ("status", "state", "run_state", "run_status", "job_state", "job_status")
DONE = (
    "done",
    "finished",
    "finish",
    "complete",
    "completed",
    "success",
    "successful",
    "succeeded",
    "ok",
    "passed",
)
# words of wandb, MLflow, Slurm, Optuna, Kubernetes, ClearML and Determined, and words that people use
NOT_DONE = (
    "failed", "fail", "failure", "error", "errored", "crashed", "crash", "crashloopbackoff", "killed",
    "preempted", "preempting", "evicted", "running", "active", "in_progress", "ongoing", "started",
    "starting", "initializing", "resuming", "pending", "queued", "waiting", "scheduled", "submitted",
    "created", "configuring", "completing", "requeued", "not", "canceled", "cancelled", "aborted",
    "interrupted", "revoked", "timeout", "timed_out", "time_out", "deadline", "oom", "oomkilled",
    "oom_killed", "out_of_memory", "node_fail", "boot_fail", "diverged", "divergent", "exploded", "nan",
    "halted", "stalled", "hung", "paused", "suspended", "pruned", "incomplete", "unfinished", "partial",
    "invalid", "broken", "lost",
)  # fmt: skip
POSITIVE = ("=", "in", "~")  # operators of conditions that name the words that count
NO_STATUS = "no status, while others have finished"


def reason_of(cell: str) -> str | None:
    """Return why a run does not count, "" if it is done, and None if we do not know the word.

    Further text may follow a word that says why not, as in "failed (OOM)" or "CANCELLED by 1000". It may not
    follow a word of success, as in "finished with errors".
    """
    text = cell.strip()
    words = re.sub(r"[\s_\-]+", "_", text.lower()).strip("_.!").removeprefix("job_state_")
    if words in DONE:
        return ""
    for word in NOT_DONE:
        if re.fullmatch(rf"{word}(?![a-z]).*", words, re.DOTALL):
            return text.lower() if words == word else text
    return None


def find_statuses(
    source: str,
    header: Sequence[str],
    rows: Rows,
    mapping: Mapping[str, str],
    conditions: Sequence[Condition],
    notes: list[str],
) -> list[str]:
    """Return for each row why it does not count, "" if it does.

    A column is a status if its name is in COLUMNS, in any case. If a column is mapped to `status`, only that
    one is. An empty mapping means that none is. If a condition names the words that count (= in ~), it
    decides and its column does not.

    Args:
        source: Name of the table, for messages.
        header: Names of the columns.
        rows: The rows of the file.
        mapping: Our names and the file's.
        conditions: The conditions on rows.
        notes: The notes, to which we add.

    Raises:
        LoraJaxError: A word is unknown, or two columns disagree.
    """
    columns = _columns(header, rows, mapping, notes)
    asked = {c.column for c in conditions if c.operator in POSITIVE}
    undecided = [
        c for c in columns if c not in asked and not ("status" in asked and mapping.get("status") == c)
    ]
    reasons: list[str] = [""] * len(rows)
    whose: list[str | None] = [None] * len(rows)
    for column in undecided:
        for i, reason in enumerate(_reasons(source, rows, column, notes)):
            known = whose[i]
            if known is not None and (reason == "") != (reasons[i] == ""):
                place, row = rows[i]
                raise LoraJaxError(
                    f"{source}, {place}, has {row[known]!r} in column {known!r} and {row[column]!r} in column"
                    f" {column!r}: say which is the status, as --map status={known!r}."
                )
            reasons[i], whose[i] = reasons[i] or reason, column
    return reasons


def _columns(header: Sequence[str], rows: Rows, mapping: Mapping[str, str], notes: list[str]) -> list[str]:
    if "status" in mapping:
        return [mapping["status"]] if mapping["status"] else []
    found = [name for name in header if re.sub(r"[\s\-]+", "_", name.strip().lower()) in COLUMNS]
    found = [name for name in found if any(row.get(name, "") for _, row in rows)]
    known = {name: sum(reason_of(cell) is not None for cell in _words(rows, name)) for name in found}
    if any(known[name] == len(_words(rows, name)) for name in found):
        for name in (name for name in found if not known[name]):
            notes.append(f"{name!r} is taken for no status, as none of its words is one.")
            found = [other for other in found if other != name]
    return found


def _words(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(cell for _, row in rows if (cell := row.get(column, ""))))


def _reasons(source: str, rows: Rows, column: str, notes: list[str]) -> list[str]:
    """Return the reasons by one column.

    An empty cell counts as done unless another cell says that its run is done.
    """
    words = {word: reason_of(word) for word in _words(rows, column)}
    unknown = [word for word, reason in words.items() if reason is None]
    if unknown:
        count = Counter(row.get(column, "") for _, row in rows)
        shown = ", ".join(f"{word!r} ({count[word]} rows)" for word in unknown[:3])
        done = next((word for word, reason in words.items() if reason == ""), unknown[0])
        raise LoraJaxError(
            f"{source}, column {column!r}, has {shown}, which is no status known here: name the words that"
            f" count, as --where '{column}={done}' or '{column} in A,B', or say --map status= if it is none."
        )
    done = any(reason == "" for reason in words.values())
    empty = sum(not row.get(column, "") for _, row in rows)
    if words and empty:
        said = (
            "are left out, as others have finished" if done else "count, as no other is said to have finished"
        )
        notes.append(f"{empty} runs have an empty {column!r}: they {said}.")
    return [
        (NO_STATUS if done else "") if not (cell := row.get(column, "")) else words[cell] or ""
        for _, row in rows
    ]
