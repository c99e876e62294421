"""Benchmarks of one file on which nothing may be trained: a canary on the first line, then rows of text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lora_jax.data.order import order_key, permute
from lora_jax.data.tasks.task import Row
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.files import parse_json
from lora_jax.rows import read_text

ASIDE_SHARE = 10  # one group of rows in so many is set aside for demonstrations
ASIDE = "aside"  # the split of those rows; it takes the place of train, but only in prompts
NOTE = (
    "evaluation only, nothing may be trained on it (the file begins with a canary): demonstrations come from"
    " a tenth of the file that is held aside, of which no text is in the test split"
)


def read_benchmark(path: Path, columns: Sequence[str], answer: str) -> tuple[Row, ...]:
    """Return the rows of a .jsonl file whose objects have `columns` and `answer`. A canary is no row.

    Raises:
        LoraJaxError: The file cannot be read, a line is no such object, or a text is empty.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            content = parse_json(line)
        except ValueError as error:
            raise LoraJaxError(f"Line {number} of {path} is not JSON ({error}): mend it.") from error
        if isinstance(content, dict) and set(content) == {"canary"}:
            continue
        for column in (*columns, answer):
            text = content.get(column) if isinstance(content, dict) else None
            if not isinstance(text, str) or not text.strip():
                known = content if isinstance(content, dict) else ()
                raise LoraJaxError(
                    f"Line {number} of {path} has no text in {column!r}{nearest(column, known)}: fill it."
                )
        fields = {column: content[column].strip() for column in columns}
        rows.append(Row(number, fields, None, content[answer].strip()))
    if not rows:
        raise LoraJaxError(f"The task file {path} has no rows: fill it or take it away.")
    return tuple(rows)


def hold_aside(rows: Sequence[Row], by: str) -> dict[str, tuple[Row, ...]]:
    """Split rows into {"aside", "test"}.

    Rows with equal text in the column `by` are on one side, always the same.

    Raises:
        LoraJaxError: There are fewer than two different texts.
    """
    texts = list(dict.fromkeys(row.fields[by] for row in rows))
    if len(texts) < 2:
        raise LoraJaxError(
            f"The benchmark has {len(texts)} text in {by!r}, at least two are wanted, one of them for"
            " demonstrations: add rows."
        )
    n_aside = max(1, len(texts) // ASIDE_SHARE)
    chosen = {texts[i] for i in permute(np.arange(n_aside), len(texts), order_key(0)).tolist()}
    return {
        ASIDE: tuple(row for row in rows if row.fields[by] in chosen),
        "test": tuple(row for row in rows if row.fields[by] not in chosen),
    }
