"""Labelled sets of tensorflow-datasets: GLUE's, E2E as cleaned by arXiv 1911.03905, SQuAD 1.1 and XSum."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lora_jax.data import tfds
from lora_jax.data.prepared import check_shards, open_builder, reading_set
from lora_jax.data.tasks import e2e, qa, xsum
from lora_jax.data.tasks.glue import GLUE, TEST_NOTE
from lora_jax.data.tasks.task import Row, Source
from lora_jax.errors import LoraJaxError, nearest

E2E, XSUM = "e2e_cleaned", "xsum"
SQUAD = ("squad", "squad/v1.1")  # 2.0 has questions without an answer
ROWS_AT_ONCE = 1024


def read_set(text: str, cache: Path, say: Callable[[str], None]) -> Source:
    """Read `glue/CONFIG`, `e2e_cleaned`, `squad` or `xsum`. It is prepared first if it is not there.

    Raises:
        LoraJaxError: It is another set, there is no network, or files do not hold what they promise.
    """
    name = tfds.parse_name(text)
    known = [*(f"glue/{config}" for config in GLUE), E2E, *SQUAD, XSUM]
    path = f"{name.name}/{name.config}" if name.config else name.name
    if path not in known:
        raise LoraJaxError(
            f"task.name is 'tfds:{text}'{nearest(path, known)}, the labelled sets are"
            f" {', '.join(f'tfds:{k}' for k in known)}: take one of them, or write its rows to files and use"
            " files:FOLDER."
        )
    prepared = tfds.prepare_set(name, tfds.find_data_dir(cache), say)
    if name.name in OTHERS:
        return OTHERS[name.name](text, prepared)
    return _read_glue(text, name.config or "", prepared)


def _read_glue(text: str, config: str, prepared: Path) -> Source:
    builder = open_builder(prepared)
    columns = GLUE[config]
    labels = tuple(builder.info.features["label"].names)
    splits = {}
    for split, theirs in (("train", "train"), ("test", columns.validation)):
        rows = []
        for number, values in enumerate(_iterate(builder, theirs, prepared)):
            label = int(values["label"])
            if not 0 <= label < len(labels):
                raise LoraJaxError(
                    f"Row {number} of split {theirs!r} of tfds:{text} has the label {label}, which is not in"
                    f" 0 to {len(labels) - 1}: delete {prepared} and start again."
                )
            fields = {column: _decode(values[column]) for column in columns[:2] if column}
            rows.append(Row(number, fields, labels[label], None))
        splits[split] = tuple(rows)
    notes = [TEST_NOTE] if config != "mnli" else [TEST_NOTE, "of MNLI's two validation sets the matched one"]
    return Source(
        f"tfds:{text}", "classification", labels, splits, columns.text, columns.pair, notes=tuple(notes)
    )


def _read_e2e(text: str, prepared: Path) -> Source:
    builder = open_builder(prepared)
    splits = {}
    for split, theirs in (("train", "train"), ("dev", "validation"), ("test", "test")):
        rows = []
        for number, values in enumerate(_iterate(builder, theirs, prepared)):
            attributes = _join(values["input_text"]["table"])
            rows.append(Row(number, {"attributes": attributes}, None, _decode(values["target_text"])))
        splits[split] = tuple(rows)
    return Source(f"tfds:{text}", "generation", (), splits, "attributes", template=e2e.TEMPLATE)


def _read_squad(text: str, prepared: Path) -> Source:
    """Return one row for each answer. Outside of train, the answers of one question become one example."""
    builder = open_builder(prepared)
    splits = {}
    for split, theirs in (("train", "train"), ("test", "validation")):
        rows = []
        for number, values in enumerate(_iterate(builder, theirs, prepared)):
            fields = {column: _decode(values[column]) for column in ("context", "question")}
            answers = dict.fromkeys(_decode(answer) for answer in values["answers"]["text"])
            rows += [Row(number, fields, None, answer) for answer in answers]
        splits[split] = tuple(rows)
    note = "test is SQuAD's validation set, its own test set being secret"
    return Source(f"tfds:{text}", "generation", (), splits, "question", template=qa.TEMPLATE, notes=(note,))


def _read_xsum(text: str, prepared: Path) -> Source:
    builder = open_builder(prepared)
    splits = {}
    for split, theirs in (("train", "train"), ("dev", "validation"), ("test", "test")):
        rows = []
        for number, values in enumerate(_iterate(builder, theirs, prepared)):
            document, summary = _decode(values["document"]), _decode(values["summary"])
            if document and summary:  # a few pages were empty when they were fetched
                rows.append(Row(number, {"document": document}, None, summary))
        splits[split] = tuple(rows)
    return Source(f"tfds:{text}", "generation", (), splits, "document", template=xsum.TEMPLATE)


OTHERS = {E2E: _read_e2e, "squad": _read_squad, XSUM: _read_xsum}


def _join(table: dict[str, Any]) -> str:
    """Write a table of attributes as E2E's text files do: `name : Blue Spice | area : riverside`."""
    pairs = zip(table["column_header"], table["content"], strict=True)
    return " | ".join(f"{_decode(header)} : {_decode(content)}" for header, content in pairs)


def _iterate(builder: Any, split: str, prepared: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split. Their number is compared with the number promised."""
    if split not in builder.info.splits:
        raise LoraJaxError(
            f"{prepared} has no split {split!r}{nearest(split, builder.info.splits)}: delete that folder and"
            " start again."
        )
    try:
        source = builder.as_data_source(split=split)
    except (NotImplementedError, ValueError) as error:
        raise LoraJaxError(
            f"{prepared} cannot be read without TensorFlow ({str(error).splitlines()[0]}): prepare it with"
            " file_format='array_record'."
        ) from error
    check_shards(builder.info.splits[split].file_instructions, prepared)
    for start in range(0, len(source), ROWS_AT_ONCE):
        with reading_set(prepared):
            rows = source.__getitems__(list(range(start, min(start + ROWS_AT_ONCE, len(source)))))
        yield from rows


def _decode(value: bytes | str) -> str:
    return (value.decode("utf-8") if isinstance(value, bytes) else str(value)).strip()
