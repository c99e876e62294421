"""Training files as people have them: whatever the format, the rows are those that were meant."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import TaskData, load_task
from lora_jax.errors import LoraJaxError

Cells = dict[str, Any]
CODE = [{"prompt": f"def f{i}(x):\n", "completion": f'    return "x; {i}", x\n'} for i in range(12)]
LABELLED = [{"text": f"  text number {i};\ta tab", "label": f"{i % 2}"} for i in range(12)]


def as_csv(rows: list[Cells], mark: str = ",") -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=mark, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def as_parquet(rows: list[Cells]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def as_lines(rows: list[Cells]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMATS: dict[str, Callable[[list[Cells]], str | bytes]] = {
    "jsonl": as_lines,
    "ndjson": as_lines,
    "json": json.dumps,
    "csv": as_csv,
    "tsv": lambda rows: as_csv(rows, "\t"),
    "parquet": as_parquet,
}
BOM = {"": ("", "utf-8"), "utf-8": ("\ufeff", "utf-8"), "utf-16": ("", "utf-16")}


def put(path: Path, content: str | bytes, bom: str = "") -> Path:
    path.parent.mkdir(exist_ok=True)
    mark, encoding = BOM[bom]
    path.write_bytes(content if isinstance(content, bytes) else (mark + content).encode(encoding))
    return path


def load(folder: Path, **fields: Any) -> TaskData:
    return load_task(TaskConfig(name=f"files:{folder}", **fields))


def rows_of(task: TaskData) -> set[tuple[Any, ...]]:
    return {
        (e.text, e.label if e.completion is None else e.completion)
        for e in (*task.train, *task.dev, *task.test)
    }


@pytest.mark.parametrize("bom", BOM)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_rows_as_they_are(tmp_path: Path, suffix: str, bom: str) -> None:
    """Indentation, line ends, tabs and quotation marks are text."""
    if suffix == "parquet" and bom:
        return
    put(tmp_path / "code" / f"train.{suffix}", FORMATS[suffix](CODE), bom)
    assert rows_of(load(tmp_path / "code")) == {(row["prompt"], row["completion"]) for row in CODE}
    put(tmp_path / "labelled" / f"train.{suffix}", FORMATS[suffix](LABELLED), bom)
    assert rows_of(load(tmp_path / "labelled")) == {(row["text"], int(row["label"])) for row in LABELLED}
    turned = [{"label": row["label"], "text": row["text"]} for row in LABELLED]
    put(tmp_path / "turned" / f"train.{suffix}", FORMATS[suffix](turned), bom)
    assert rows_of(load(tmp_path / "turned")) == rows_of(load(tmp_path / "labelled"))


def test_a_spreadsheet_with_semicolons_is_read(tmp_path: Path) -> None:
    put(tmp_path / "t" / "train.csv", as_csv(LABELLED, ";"))
    assert rows_of(load(tmp_path / "t")) == {(row["text"], int(row["label"])) for row in LABELLED}


def test_quotation_marks_of_a_tsv_as_glue_has_it_are_text(tmp_path: Path) -> None:
    texts = ['"quoted" in front', 'an "odd one', '"whole"', "none"]
    lines = [f"{text}\t{i % 2}\n" for i, text in enumerate(texts * 3)]
    put(tmp_path / "t" / "train.tsv", "text\tlabel\n" + "".join(lines))
    assert {text for text, _ in rows_of(load(tmp_path / "t", n_dev=1, n_test=1))} == set(texts)


def test_a_text_longer_than_a_csv_cell_usually_is(tmp_path: Path) -> None:
    long = [{"prompt": f"{i} " + "word " * 40_000, "completion": " end"} for i in range(3)]
    put(tmp_path / "t" / "train.csv", as_csv(long))
    task = load(tmp_path / "t", n_dev=1, n_test=1)
    assert {len(text) for text, _ in rows_of(task)} == {200_002}


@pytest.mark.parametrize("name", ["dev", "valid", "validation", "val", "eval", "Validation", "VALID"])
def test_held_out_rows_are_known_by_each_of_their_names(tmp_path: Path, name: str) -> None:
    put(tmp_path / "t" / "train.jsonl", as_lines(LABELLED))
    held = [row | {"text": f"held out {row['text']}"} for row in LABELLED]
    put(tmp_path / "t" / f"{name}.jsonl", as_lines(held))
    task = load(tmp_path / "t")
    assert [e.text for e in task.dev] == [row["text"] for row in held]
    assert not any("dev is cut" in note for note in task.notes)


@pytest.mark.parametrize(
    "names", [("valid.jsonl", "dev.jsonl"), ("val.csv", "val.jsonl"), ("test.csv", "test.tsv")]
)
def test_two_files_for_one_split_are_refused_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in ("train.jsonl", *names):
        put(tmp_path / "t" / name, FORMATS[name.partition(".")[2]](LABELLED))
    with pytest.raises(LoraJaxError) as found:
        load(tmp_path / "t")
    assert all(name in str(found.value) for name in names)


def test_shards_are_one_split_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for part in range(3):
        put(tmp_path / "t" / f"train-{part:05}-of-00003.parquet", as_parquet(LABELLED[part * 4 :][:4]))
    assert len(rows_of(load(tmp_path / "t"))) == 12
    (tmp_path / "t" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(LoraJaxError, match=r"holds 2 of the 3 shards of train .*fetch the others"):
        load(tmp_path / "t")


def test_a_file_that_is_no_split_is_said(tmp_path: Path) -> None:
    put(tmp_path / "t" / "train.jsonl", as_lines(LABELLED))
    for name in ("held_out.jsonl", "dev.jsonl.gz", "README.md"):
        put(tmp_path / "t" / name, "x")
    (note,) = [note for note in load(tmp_path / "t").notes if "not read" in note]
    assert "held_out.jsonl" in note
    assert "dev.jsonl.gz" in note
    assert "README" not in note


@pytest.mark.parametrize("extra", [None, 0.93, True, ["a"], {"a": 1}, [[1, 2]], "", 7])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_a_column_that_nothing_uses_may_hold_anything(tmp_path: Path, extra: Any, suffix: str) -> None:
    rows = [row | {"meta": extra} for row in LABELLED]
    put(tmp_path / "t" / f"train.{suffix}", FORMATS[suffix](rows))
    task = load(tmp_path / "t")
    assert rows_of(task) == {(row["text"], int(row["label"])) for row in LABELLED}
    assert any("'meta'" in note for note in task.notes) == isinstance(extra, list | dict)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text": ["a"]}, "Line 3 of .* has a list in 'text', but it must be a text"),
        ({"label": {"a": 1}}, "Line 3 of .* has a dict in 'label'"),
        ({"label": None}, "Line 3 of .* has an empty label"),
        ({"label": float("nan")}, "Line 3 of .* 'label'"),
        ({"label": 0.5}, "label '0.5', a number with a fraction"),
        ({"text": None}, "Row 3 of split 'train' .* has no text in 'text'"),
    ],
)
def test_a_cell_that_is_used_is_a_text(tmp_path: Path, wrong: Cells, message: str) -> None:
    rows = [*LABELLED[:2], LABELLED[2] | wrong, *LABELLED[3:]]
    put(tmp_path / "t" / "train.jsonl", as_lines(rows))
    with pytest.raises(LoraJaxError, match=message):
        load(tmp_path / "t")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((0.0, 1.0), ("0", "1")),
        (("0.0", "1.0"), ("0", "1")),
        ((0, 1.0), ("0", "1")),
        ((2.0, 10.0), ("2", "10")),
        ((False, True), ("false", "true")),
        ((" no", "yes "), ("no", "yes")),
        (("v1.0", "v2.0"), ("v1.0", "v2.0")),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_labels_are_names(
    tmp_path: Path, labels: tuple[Any, Any], names: tuple[str, str], suffix: str
) -> None:
    rows = [{"text": f"text {i}", "label": labels[i % 2]} for i in range(12)]
    if suffix == "csv" and isinstance(labels[0], bool):
        names = ("False", "True")
    put(tmp_path / "t" / f"train.{suffix}", FORMATS[suffix](rows))
    task = load(tmp_path / "t")
    assert task.labels == names
    assert rows_of(task) == {(f"text {i}", i % 2) for i in range(12)}


ALPACA = [
    {"instruction": f"Say {i} {{input}}.", "input": "" if i % 2 else f"in {i}", "output": f"out {i}"}
    for i in range(12)
]


@pytest.mark.parametrize("suffix", FORMATS)
def test_instructions_are_alpacas_prompt(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / "t" / f"train.{suffix}", FORMATS[suffix](ALPACA))
    task = load(tmp_path / "t")
    found = dict(rows_of(task))
    with_input = next(text for text in found if "Say 4 " in text)
    assert with_input == (
        "Below is an instruction that describes a task, paired with an input that provides further context."
        " Write a response that appropriately completes the request.\n\n### Instruction:\nSay 4 {input}.\n\n"
        "### Input:\nin 4\n\n### Response:\n"
    )
    alone = next(text for text in found if "Say 5 " in text)
    assert alone.endswith("\n\n### Instruction:\nSay 5 {input}.\n\n### Response:\n")
    assert "Input" not in alone
    assert found[alone] == "out 5"
    assert any("Alpaca's prompt" in note for note in task.notes)
    other = load(tmp_path / "t", template="{instruction}\n{input}\n")
    assert ("Say 4 {input}.\nin 4\n", "out 4") in rows_of(other)


def test_what_alpacas_prompt_has_no_place_for_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "t" / "train.json", json.dumps([row | {"history": [["a", "b"]]} for row in ALPACA]))
    with pytest.raises(
        LoraJaxError, match=r"Row 1 of .* has a history, for which Alpaca's prompt has no place"
    ):
        load(tmp_path / "t")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", '{"text": "a", "text": "b", "label": 1}\n', r"line 1, has two columns named 'text'"),
        ("train.csv", "text,label,text\na,1,b\n", r"two columns named 'text'"),
        ("train.json", '{"data": []}', r"is not a JSON list of objects"),
        ("train.csv", 'label,text\n1,"never closed\n0,b\n', r"line 3, cannot be read as CSV .unexpected end"),
        ("train.csv", 'label,text\n1,"so" it goes\n0,b\n', r"line 2, cannot be read as CSV .*expected after"),
        ("train.jsonl", "[1]\n", r"line 1, is not a JSON object"),
        ("train.parquet", "text,label\n", r"cannot be read as Parquet"),
        ("train.csv", b"text,label\n\xff,1\n", r"train.csv cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    put(tmp_path / "t" / name, content)
    with pytest.raises(LoraJaxError, match=message) as found:
        load(tmp_path / "t")
    assert "\n" not in str(found.value)
