"""Files: the same table in every format is the same, and a faulty file is one sentence."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.reading import read_rows
from lora_jax.scaling.tables.table import RunTable, read_table

ROWS = [
    {"run": "a", "n_params": 100, "n_tokens": 2000.5, "loss": 3.25, "tok_mult": 20, "note": "x"},
    {"run": "a", "n_params": 2**40, "n_tokens": 4e12, "loss": 1 / 3, "tok_mult": 40, "note": None},
    {"run": "b", "n_params": 300, "n_tokens": 1.0, "loss": 2.5, "tok_mult": 0, "note": "y"},
]


def write(path: Path) -> Path:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        lines = [ROWS[0], *({k: "" if v is None else repr(v).strip("'") for k, v in r.items()} for r in ROWS)]
        path.write_text(
            "\n".join(mark.join(map(str, line if i == 0 else line.values())) for i, line in enumerate(lines))
        )
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt", "jsonl", "ndjson", "json", "parquet", "CSV", "JSON"])
def test_every_format_is_the_same_table(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"t.{suffix.lower()}").rename(tmp_path / f"t.{suffix}")
    table: RunTable = read_table(path)
    for name in ("n_params", "n_tokens", "loss", "tok_mult"):
        np.testing.assert_array_equal(table[name], [row[name] for row in ROWS])
    assert "note" not in table.columns
    assert "run" not in table.columns
    assert table.clusters == ("a", "a", "b")
    np.testing.assert_array_equal(table["flops"], 6 * table["n_params"] * table["n_tokens"])


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    assert [place for place, _ in read_rows(write(tmp_path / "t.csv"))[1]] == ["line 2", "line 3", "line 4"]
    assert [place for place, _ in read_rows(write(tmp_path / "t.jsonl"))[1]] == ["line 1", "line 2", "line 3"]
    assert [place for place, _ in read_rows(write(tmp_path / "t.json"))[1]] == ["row 1", "row 2", "row 3"]


def test_objects_of_different_keys_are_one_table(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"n_params": 1, "loss": 2}\n{"loss": 3, "n_params": 2, "extra": 5}\n')
    table = read_table(path)
    np.testing.assert_array_equal(table["n_params"], [1, 2])
    assert "extra" not in table.columns  # the first run has none


def test_null_is_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"run_id": null, "status": null, "n_params": 1, "loss": 2}\n')
    assert read_table(path).run_ids == ("row 1",)
    path.write_text('{"n_params": 1, "loss": null}\n')
    with pytest.raises(LoraJaxError, match="line 1, column 'loss': '' is not a number above 0"):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "holds no runs"),
        ("t.json", b"", "holds no runs"),
        ("t.jsonl", b"\n\n", "holds no runs"),
        ("t.json", b"[]", "holds no runs"),
        ("t.json", b'{"loss": 3}', "not a JSON list of objects"),
        ("t.json", b"[1]", "not a JSON list of objects"),
        ("t.json", b'[{"loss": 3}\n,', "line 2, is not JSON"),
        ("t.jsonl", b"[1]\n", "line 1, is not a JSON object"),
        ("t.parquet", b"n_params,loss\n1,2\n", "cannot be read as Parquet"),
        ("t.parquet", b"", "cannot be read as Parquet"),
        ("t.csv", b"loss,loss\n1,2\n", "two columns named 'loss'"),
        ("t.csv", b'loss\n"' + b"x" * 200_000 + b'"\n', "cannot be read as CSV"),
        ("t.csv", b"\xff\xfe\x00", "cannot be read as a table"),
    ],
)
def test_a_faulty_file_gets_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoraJaxError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LoraJaxError, match="pip install pyarrow"):
        read_table(path)
