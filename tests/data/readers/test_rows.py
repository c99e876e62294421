"""The same texts in any container are the same documents; what is broken is told with its place."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import prepare
from lora_jax.data.documents import Chained
from lora_jax.data.readers.kinds import open_file
from lora_jax.errors import LoraJaxError

TEXTS = [f"{n} héros 国 \n\n and\u2028 {'liberty ' * (n % 7)}" for n in range(300)]
EMPTY = ["", " \n", None]


def pack_zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as file:
        file.write(content)
    return sink.getvalue().to_pybytes()


def as_lines(texts: list[Any], field: str = "text") -> bytes:
    return b"".join(json.dumps({"id": i, field: t}).encode() + b"\n" for i, t in enumerate(texts))


def write_stream(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


def write_rows(path: Path, texts: list[Any], field: str = "text") -> Path:
    """Write texts, a row each, as the file's name says."""
    table = pa.table({"id": range(len(texts)), field: pa.array(texts, pa.string())})
    lines, name = as_lines(texts, field), path.name
    if name.endswith(".parquet"):
        pyarrow.parquet.write_table(table, path, row_group_size=110)
    elif name.endswith(".feather"):
        pyarrow.feather.write_feather(table, str(path), chunksize=70)
    elif name.endswith(".arrow"):
        write_stream(path, table)
    else:
        path.write_bytes(
            gzip.compress(lines)
            if name.endswith(".gz")
            else pack_zst(lines)
            if name.endswith(".zst")
            else lines
        )
    return path


NAMES = ["a.jsonl", "a.NDJSON", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.feather", "a.arrow"]


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_a_document(tmp_path: Path, name: str) -> None:
    documents = open_file(write_rows(tmp_path / name, TEXTS + EMPTY, "body"), "body")
    texts = [*TEXTS, "", "", ""]
    assert len(documents) == len(texts)
    assert list(documents.read(range(len(texts)))) == texts
    draw = np.random.default_rng(0)
    for rows in ([], [0], [302], [109, 110], sorted(draw.choice(303, 40, replace=False).tolist())):
        assert list(documents.read(rows)) == [texts[row] for row in rows]


def test_containers_of_equal_texts_give_equal_tokens(
    tmp_path: Path, write_documents: Callable[..., Any]
) -> None:
    streams = []
    for name in [*NAMES, "folder"]:
        source = SourceConfig(name=f"files:{tmp_path / name}")
        if name == "folder":
            (tmp_path / name).mkdir()
            for number, text in enumerate(TEXTS):
                (tmp_path / name / f"{number}.txt").write_text(text)
        else:
            write_rows(tmp_path / name, TEXTS[::-1] + EMPTY)
        dataset = prepare(DataConfig(sources=(source,), seq_len=16, tokenizer="bpe:300"), 300)
        streams.append(bytes(dataset.sources[0].train.tokens))
    assert len(set(streams)) == 1


def test_a_packed_text_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"some\nlines"))
    (tmp_path / "a.txt.zst").write_bytes(pack_zst(b"some\nlines"))
    for name in ("a.txt.gz", "a.txt.zst"):
        assert list(open_file(tmp_path / name, "text").read([0])) == ["some\nlines"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"body": "x"}', r"a.jsonl, line 3, has no field 'text'.*body.*set text_field"),
        (b'{"text": 7}', r"line 3, has int in the field 'text', but it must be a text"),
        (b'{"text": ["x"]}', r"line 3, has list in the field"),
        (b'{"text": "x"', r"line 3, is not JSON \(.*mend that line"),
        (b"[1]", r"line 3, is not a JSON object"),
        (b'{"text": "\\ud800"}', r"line 3, has half a character"),
        (b'{"text": "a", "text": "b"}', r"line 3, is not JSON \(it has two fields of one name"),
        (b'{"text": "caf\xe9"}', r"line 3, is not UTF-8"),
        (b'{"text": ' + b"[" * 100_000, r"line 3, is not JSON \(it is nested too deep"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\n\n' + line + b"\n")
    documents = open_file(path, "text")
    assert list(documents.read([0, 1])) == ["one", ""]
    with pytest.raises(LoraJaxError, match=message):
        list(documents.read(range(3)))


@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow"])
def test_a_column_that_is_missing_or_no_text_is_named(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name, TEXTS)
    with pytest.raises(
        LoraJaxError, match=rf"{name} has no column 'texts', it has id, text .*set text_field"
    ):
        len(open_file(path, "texts"))
    with pytest.raises(
        LoraJaxError, match=r"has int64 in the column 'id', but it must be a column of text .text"
    ):
        list(open_file(path, "id").read([0]))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.count(".") == 2 or "json" not in name.lower()]
)
def test_a_file_that_is_cut_off_is_told(tmp_path: Path, name: str) -> None:
    path = write_rows(tmp_path / name, TEXTS)
    whole = path.read_bytes()
    batch_end = whole[:-8]  # a stream of Arrow that ends between two batches reads as a shorter one
    for content in (whole[: len(whole) // 2], whole[:-1], whole[:20], b"", batch_end, b"something else"):
        path.write_bytes(content)
        with pytest.raises(LoraJaxError, match=rf"{name} (is cut off|cannot be read)"):
            list(Chained([open_file(path, "text")]).read(range(len(TEXTS))))


@pytest.mark.parametrize("name", ["a.feather", "a.arrow"])
def test_damaged_offsets_are_told(tmp_path: Path, name: str) -> None:
    """Without a look at them, Arrow would read outside the file, and the process would end."""
    path = tmp_path / name
    table = pa.table({"text": TEXTS})
    if name == "a.feather":
        pyarrow.feather.write_feather(table, str(path), compression="uncompressed")
    else:
        write_stream(path, table)
    starts = np.cumsum([0] + [len(text.encode()) for text in TEXTS[:20]]).astype(np.int32).tobytes()
    content = bytearray(path.read_bytes())
    at = content.index(starts) + 40
    content[at : at + 4] = np.int32(2**30).tobytes()
    path.write_bytes(content)
    with pytest.raises(LoraJaxError, match=rf"{name} cannot be read as Arrow"):
        list(open_file(path, "text").read(range(len(TEXTS))))


def save_dataset(folder: Path, texts: list[str]) -> None:
    """Write a dataset as save_to_disk does, in two shards."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05}-of-00002.arrow" for n in range(2)]
    for number, name in enumerate(names):
        write_rows(folder / name, texts[number::2])
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    write_rows(folder / "cache-1234.arrow", ["a stray cache file"])


def count_texts(folder: Path, split: str = "train") -> int:
    source = SourceConfig(name=f"files:{folder}", split=split)
    (about,) = prepare(DataConfig(sources=(source,), seq_len=16), 256).describe()["sources"]
    return about["train_documents"] + about["heldout_documents"]


def test_a_saved_dataset_is_read_by_what_it_says_of_itself(tmp_path: Path) -> None:
    save_dataset(tmp_path / "one", TEXTS)
    assert count_texts(tmp_path / "one") == len(TEXTS)
    for split, n in (("train", 200), ("test", 100)):
        save_dataset(tmp_path / "two" / split, TEXTS[:n])
    (tmp_path / "two" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert count_texts(tmp_path / "two") == 200
    assert count_texts(tmp_path / "two", "test") == 100
    for name in ("one", "two/train/*.arrow"):
        with pytest.raises(LoraJaxError, match=r"has split 'test'.*leave split out"):
            count_texts(tmp_path / name, "test")
    with pytest.raises(LoraJaxError, match=r"split 'tset', which .* does not have .nearest: 'test'"):
        count_texts(tmp_path / "two", "tset")
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(
        LoraJaxError, match=r"data-00001-of-00002.arrow is missing, and .*state.json names it"
    ):
        count_texts(tmp_path / "one")


def test_datasets_itself_writes_what_we_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(str(tmp_path / "one"), num_shards=3)
    assert count_texts(tmp_path / "one") == len(TEXTS)
