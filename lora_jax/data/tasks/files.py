"""Anybody's labelled files: a folder of train, dev and test as .jsonl, .tsv or .csv."""

from pathlib import Path

from lora_jax.data.tasks.tables import FORMATS, read_table, require
from lora_jax.data.tasks.task import Row, Source
from lora_jax.errors import LoraJaxError

SPLITS = ("train", "dev", "test")
COLUMNS = "(text, label), (text, pair, label) or (prompt, completion)"


def read_files(folder_name: str) -> Source:
    """Read a folder; the columns of train decide what the task is, and its labels are those of train.

    All columns but the label and the completion may be named by a template.
    """
    folder = Path(folder_name).expanduser()
    found = {split: path for split in SPLITS if (path := _find(folder, split)) is not None}
    if "train" not in found:
        wanted = " or ".join(f"train{suffix}" for suffix in FORMATS)
        raise LoraJaxError(
            f"task.name is 'files:{folder_name}', and {folder.resolve()} holds no {wanted}: add it."
        )
    tables = {split: read_table(path) for split, path in found.items()}
    first = tables["train"][0][1]
    if {"prompt", "completion"} <= set(first):
        text, answer = "prompt", "completion"
    elif "label" in first:
        text, answer = "text", "label"
    else:
        raise LoraJaxError(
            f"{found['train']} has the columns {', '.join(first)}, wanted are {COLUMNS}: rename them."
        )
    splits = {}
    for split, rows in tables.items():
        for number, fields in rows:
            # What is there beside the answer may be anything: a template names what it needs.
            require(found[split], number, fields, [answer])
            if not fields[answer].strip():
                raise LoraJaxError(f"Line {number} of {found[split]} has an empty {answer}: fill it.")
        splits[split] = tuple(
            Row(
                number,
                {name: value for name, value in fields.items() if name != answer},
                fields["label"] if answer == "label" else None,
                fields["completion"] if answer == "completion" else None,
            )
            for number, fields in rows
        )
    labels: tuple[str, ...] = _sort_labels({row.label for row in splits["train"] if row.label is not None})
    for split, rows in splits.items():
        for row in rows:
            if labels and row.label not in labels:
                raise LoraJaxError(
                    f"Line {row.number} of {found[split]} has the label {row.label!r}, which no row of train"
                    f" has ({', '.join(labels[:20])}): mend that line, or add such rows to train."
                )
    if len(labels) == 1:
        raise LoraJaxError(
            f"{found['train']} has the one label {labels[0]!r}, at least two are wanted: add rows of another."
        )
    pair = "pair" if answer == "label" and "pair" in first else None
    kind = "classification" if answer == "label" else "generation"
    return Source(f"files:{folder_name}", kind, labels, splits, text, pair)


def _find(folder: Path, split: str) -> Path | None:
    paths = [path for suffix in FORMATS if (path := folder / f"{split}{suffix}").is_file()]
    if len(paths) > 1:
        raise LoraJaxError(
            f"{folder} holds {' and '.join(path.name for path in paths)}, one of them is wanted: take the"
            " others away."
        )
    return paths[0] if paths else None


def _sort_labels(labels: set[str]) -> tuple[str, ...]:
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))
