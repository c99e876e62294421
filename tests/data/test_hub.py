"""Sets that Hugging Face's package loads, here of a local folder: no test asks the network."""

import json
import sys
from pathlib import Path

import pytest

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import prepare
from lora_jax.data.corpora import needs_download
from lora_jax.errors import LoraJaxError

datasets = pytest.importorskip("datasets")
TEXTS = [f"{n} words and words {'and more ' * (n % 5)}" for n in range(60)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as on the hub: a README, and a file a split."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "README.md").write_text("# A set")
    for split, texts in (("train", [*TEXTS, "", None]), ("validation", TEXTS[:20])):
        rows = "".join(json.dumps({"id": n, "body": text}) + "\n" for n, text in enumerate(texts))
        (tmp_path / "set" / f"{split}.jsonl").write_text(rows)
    return tmp_path / "set"


def open_set(folder: Path, **fields: str) -> list[str]:
    """Return the texts of a set."""
    source = SourceConfig(name=f"hf:{folder}", **({"text_field": "body"} | fields))  # pyright: ignore
    (tokens,) = prepare(DataConfig(sources=(source,), seq_len=16), 256).sources
    streams = bytes(tokens.train.tokens) + bytes(tokens.heldout.tokens)
    return sorted(streams.decode().split("\0")[:-1])


def test_a_row_is_a_document(folder: Path) -> None:
    assert open_set(folder) == sorted(TEXTS)
    assert open_set(folder, split="validation") == sorted(TEXTS[:20])
    assert open_set(folder, split="train[:30]") == sorted(TEXTS[:30])
    assert not needs_download(SourceConfig(name=f"hf:{folder}"), folder)


def test_mistakes_are_told(folder: Path) -> None:
    for fields, message in (
        ({"text_field": "text"}, r"text_field 'text', which hf:.* does not have .known: body, id"),
        ({"text_field": "id"}, r"which in hf:.* holds int64 and not text"),
        ({"split": "test"}, r"split 'test', cannot be loaded \(ValueError: Unknown split"),
    ):
        with pytest.raises(LoraJaxError, match=message):
            open_set(folder, **fields)


def test_without_a_network_a_set_fails_at_once(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(LoraJaxError, match=r"'hf:owner/name' is not on this machine and .* does not answer"):
        prepare(DataConfig(sources=(SourceConfig(name="hf:owner/name"),), seq_len=16), 256)
    with pytest.raises(LoraJaxError, match=r"'hf:owner/name' is not on this machine and .* does not answer"):
        needs_download(SourceConfig(name="hf:owner/name"), folder)
    with pytest.raises(LoraJaxError, match=r"names 'hf:/no/folder', which is no folder"):
        needs_download(SourceConfig(name="hf:/no/folder"), folder)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(LoraJaxError, match=r"need the package datasets .*pip install 'lora-jax\[hf\]'"):
        open_set(folder)
