"""Your own labelled files: a folder of train, dev and test, as JSON, TSV, CSV or Parquet."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from lora_jax.data.tasks import chat, instructions
from lora_jax.data.tasks.cells import (
    Record,
    Table,
    as_text,
    fields_of,
    note_unread,
    plain_labels,
    read_records,
)
from lora_jax.data.tasks.splits import find_splits
from lora_jax.data.tasks.task import Row, Source
from lora_jax.errors import LoraJaxError

FORMS = (("prompt", "completion"), ("label",), ("messages",), ("conversations",), ("instruction", "output"))
COLUMNS = (
    "(text, label), (text, pair, label), (prompt, completion), (messages) or (instruction, input, output)"
)


def read_files(folder_name: str) -> Source:
    """Read a folder. The columns of train decide what the task is, and its labels are those of train.

    A template may name all columns except the answer if they are text or numbers. Other columns are not read,
    and the notes say so.

    Raises:
        LoraJaxError: There is no folder or train file, or several files for one split. The columns form no
            task, a cell is empty or no text, a label is missing from train, or there is only one label.
    """
    found = find_splits(Path(folder_name).expanduser())
    tables = {split: read_records(paths) for split, paths in found.files.items()}
    source = _read(f"files:{folder_name}", tables, found.files["train"][0])
    read = {source.text, source.pair, "label", "completion", "output"}
    unread = [note for split, table in tables.items() for note in note_unread(split, table, read)]
    return replace(source, notes=(*source.notes, *found.notes, *unread))


def _read(name: str, tables: dict[str, Table], train: Path) -> Source:
    """Return the source. Its form is the first that the columns of train have."""
    columns, first = tables["train"].columns, tables["train"].records[0].cells
    _refuse_mixed(tables)
    if {"prompt", "completion"} <= set(columns):
        if isinstance(first.get("prompt"), list):
            return _read_chat(name, tables, ("prompt", "completion"))
        return _read_completions(name, tables)
    if "label" in columns:
        return _read_labelled(name, tables, train)
    for column in ("messages", "conversations"):
        if column in columns:
            return _read_chat(name, tables, (column,))
    if {"instruction", "output"} <= set(columns):
        rows = {
            split: tuple(map(instructions.read_instruction, table.records)) for split, table in tables.items()
        }
        return Source(
            name, "generation", (), rows, instructions.PROMPT, notes=(instructions.NOTE,), is_instruction=True
        )
    raise LoraJaxError(
        f"{train} has the columns {', '.join(columns)}, but it must have {COLUMNS}: rename them."
    )


def _refuse_mixed(tables: dict[str, Table]) -> None:
    """Refuse rows of two forms, such as messages among prompts and completions. Each form is another task."""
    first = tables["train"].records[0]
    wanted = next((form for form in FORMS if set(form) <= first.cells.keys()), None)
    for table in tables.values():
        for one in table.records:
            found = next((form for form in FORMS if set(form) <= one.cells.keys()), None)
            if wanted is not None and found is not None and not set(wanted) <= one.cells.keys():
                raise LoraJaxError(
                    f"{one.where} has {' and '.join(found)}, and {first.where} has {' and '.join(wanted)}:"
                    " write every row in one form, or put each form into a set of its own."
                )


def _read_chat(name: str, tables: dict[str, Table], columns: tuple[str, ...]) -> Source:
    rows = {split: chat.read_conversations(table, columns) for split, table in tables.items()}
    return Source(name, "generation", (), rows, columns[0], notes=(chat.NOTE,), is_chat=True)


def _read_completions(name: str, tables: dict[str, Table]) -> Source:
    rows = {
        split: tuple(
            Row(
                one.number,
                _check_text(one, ("prompt",), fields_of(one, "completion")),
                None,
                one.get_text("completion"),
            )
            for one in table.records
        )
        for split, table in tables.items()
    }
    return Source(name, "generation", (), rows, "prompt")


def _read_labelled(name: str, tables: dict[str, Table], train: Path) -> Source:
    labelled = {
        split: [(one, one.get_text("label")) for one in table.records] for split, table in tables.items()
    }
    names = plain_labels((label for rows in labelled.values() for _, label in rows), name)
    labels = _sort_labels({names[label] for _, label in labelled["train"]})
    _refuse_single(labelled["train"], names)
    columns = ("text", "pair") if "pair" in tables["train"].columns else ("text",)
    splits = {}
    for split, rows in labelled.items():
        for one, label in rows:
            if names[label] not in labels:
                raise LoraJaxError(
                    f"{one.where} has the label {names[label]!r}, which no row of train has"
                    f" ({', '.join(labels[:20])}): mend that line, or add such rows to train."
                )
        splits[split] = tuple(
            Row(one.number, _check_text(one, columns, fields_of(one, "label")), names[label], None)
            for one, label in rows
        )
    if len(labels) == 1:
        raise LoraJaxError(
            f"{train} has the one label {labels[0]!r}, at least two are wanted: add rows of another."
        )
    return Source(name, "classification", labels, splits, "text", "pair" if len(columns) > 1 else None)


def _refuse_single(rows: list[tuple[Record, str]], names: dict[str, str]) -> None:
    """Refuse a label that only one row has. It cannot be both learned and measured, and is often a slip."""
    counts = Counter(names[label] for _, label in rows)
    for one, label in rows:
        if counts[names[label]] == 1 and len(counts) > 1:
            raise LoraJaxError(
                f"{one.where} has the label {names[label]!r}, which no other row of train has: correct it,"
                " add rows of that label, or take the row away."
            )


def _check_text(one: Record, columns: tuple[str, ...], fields: dict[str, str]) -> dict[str, str]:
    """Return the fields. LoraJaxError if one of `columns` holds a list or the like."""
    for column in columns:
        value = one.cells.get(column)
        if value is not None and as_text(value) is None:
            one.get_text(column)
    return fields


def _sort_labels(labels: set[str]) -> tuple[str, ...]:
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))
