"""Labelled sets of tensorflow-datasets, prepared as somebody else would, read without TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import load_task
from lora_jax.errors import LoraJaxError

LABELS = ("entailment", "neutral", "contradiction")
MR = [("name", "Blue Spice"), ("area", "riverside")]

# skip_registration: the library has sets of these names, which need a download.


class Glue(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """MNLI with few rows, and a split whose labels are secret."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="mnli", version=VERSION)]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=list(LABELS))
        text = tfds.features.Text()
        features = {"premise": text, "hypothesis": text, "label": label, "idx": np.int32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        sizes = {"train": 40, "validation_matched": 7, "validation_mismatched": 5}
        return {split: self._generate_examples(split, n) for split, n in sizes.items()}

    def _generate_examples(self, split: str, n: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(n):
            row = {"premise": f"{split} {i}", "hypothesis": f"hypothesis {i}", "label": i % 3, "idx": i}
            yield i, row


class E2eCleaned(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """E2E with two inputs a split and two references each, features as the library's set has them."""

    VERSION = tfds.core.Version("0.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        table = {"column_header": np.str_, "row_number": np.int16, "content": np.str_}
        features = {"input_text": {"table": tfds.features.Sequence(table)}, "target_text": np.str_}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(4):
            pairs = [*MR, ("near", f"{split} {i // 2}")]
            table = [{"column_header": h, "row_number": 1, "content": c} for h, c in pairs]
            yield i, {"input_text": {"table": table}, "target_text": f"Sentence {i} é."}


class Squad(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """SQuAD 1.1 with few questions, of which those of the validation set have several answers."""

    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="v1.1", version=VERSION)]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        answers = tfds.features.Sequence({"text": text, "answer_start": np.int32})
        features = {"id": np.str_, "title": text, "context": text, "question": text, "answers": answers}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split) for split in ("train", "validation")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(20):
            found = ["Denver", "Denver", "Denver Broncos"] if split == "validation" else [f"answer {i}"]
            yield (
                i,
                {
                    "id": str(i),
                    "title": "T",
                    "context": f"{split} {i // 2} é",
                    "question": f"who {i} ?",
                    "answers": {"text": found, "answer_start": [0] * len(found)},
                },
            )


class Xsum(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """XSum with few articles, one of them empty."""

    VERSION = tfds.core.Version("1.1.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        features = tfds.features.FeaturesDict({"document": text, "summary": text})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(5):
            yield i, {"document": f"{split}\n{i}" if i else "", "summary": f"In short {i} ."}


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def test_glue_is_read_with_its_public_labels(data_dir: Path) -> None:
    Glue(config="mnli", data_dir=data_dir, file_format="array_record").download_and_prepare()
    task = load_task(TaskConfig(name="tfds:glue/mnli", n_dev=8))
    assert (task.kind, task.labels) == ("classification", LABELS)
    assert {len(task.train), len(task.dev)} == {32, 8}
    assert {e.text for e in (*task.train, *task.dev)} == {f"train {i}" for i in range(40)}
    assert sorted(e.text for e in task.test) == [f"validation_matched {i}" for i in range(7)]
    for example in (*task.train, *task.test):
        number = int(example.text.split()[1])
        assert (example.pair, example.label) == (f"hypothesis {number}", number % 3)
    assert any("the matched one" in note for note in task.notes)


def test_e2e_is_written_as_in_the_text_files(data_dir: Path) -> None:
    E2eCleaned(data_dir=data_dir, file_format="array_record").download_and_prepare()
    task = load_task(TaskConfig(name="tfds:e2e_cleaned"))
    assert [len(s) for s in (task.train, task.dev, task.test)] == [4, 2, 2]
    first = min(task.test)
    assert first.text == "name : Blue Spice | area : riverside | near : test 0 ||"
    assert sorted(first.references) == [" Sentence 0 é.", " Sentence 1 é."]


@pytest.mark.parametrize("name", ["tfds:squad", "tfds:squad/v1.1"])
def test_squad_has_all_answers_of_a_question(data_dir: Path, name: str) -> None:
    Squad(config="v1.1", data_dir=data_dir, file_format="array_record").download_and_prepare()
    metadata = data_dir / "squad" / ".config" / "metadata.json"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text('{"default_config_name": "v1.1"}')
    task = load_task(TaskConfig(name=name, n_dev=4))
    assert (task.kind, len(task.train), len(task.dev), len(task.test)) == ("generation", 16, 4, 20)
    first = min(task.test)
    assert first.text == "validation 0 é\nQ: who 0 ?\nA:"
    assert first.references == (" Denver", " Denver Broncos")
    assert {e.text.split()[0] for e in (*task.train, *task.dev)} == {"train"}
    assert all(len(e.references) == 1 for e in task.train)
    assert any("SQuAD's validation set" in note for note in task.notes)


def test_xsum_is_read_without_its_empty_articles(data_dir: Path) -> None:
    Xsum(data_dir=data_dir, file_format="array_record").download_and_prepare()
    task = load_task(TaskConfig(name="tfds:xsum"))
    assert [len(split) for split in (task.train, task.dev, task.test)] == [4, 4, 4]
    assert sorted(task.test)[0].text == "test\n1\nTL;DR:"
    assert sorted(task.test)[0].references == (" In short 1 .",)


def test_questions_without_answers_are_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"'tfds:squad/v2.0' .nearest: 'squad/v1.1'"):
        load_task(TaskConfig(name="tfds:squad/v2.0"))


def test_other_sets_are_refused() -> None:
    with pytest.raises(LoraJaxError, match=r"'tfds:glue/stsb'.* the labelled sets are tfds:glue/cola"):
        load_task(TaskConfig(name="tfds:glue/stsb"))
