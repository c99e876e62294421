"""A task whose folder is not there: from tensorflow-datasets where it is the same task, said and recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import load_task, place
from lora_jax.errors import LoraJaxError


class Glue(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """SST-2 with few rows. skip_registration: the library has a set of this name, which needs a download."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="sst2", version=VERSION)]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=["negative", "positive"])
        features = {"sentence": tfds.features.Text(), "label": label, "idx": np.int32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split, n) for split, n in (("train", 40), ("validation", 9))}

    def _generate_examples(self, split: str, n: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for i in range(n):
            yield i, {"sentence": f"{split} {i} .", "label": i % 2, "idx": i}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a clone alone: no variable, nothing beside the checkout."""
    monkeypatch.delenv("LORA_JAX_TASKS", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setattr(place, "BESIDE", tmp_path / "nothing")
    return tmp_path


def test_it_is_read_from_tensorflow_datasets_which_is_said_and_recorded(nowhere: Path) -> None:
    Glue(config="sst2", data_dir=nowhere / "sets", file_format="array_record").download_and_prepare()
    task, named = (load_task(TaskConfig(name=name, n_dev=8)) for name in ("sst2", "tfds:glue/sst2"))
    assert task.name == "tfds:glue/sst2"
    assert (task.train, task.dev, task.test) == (named.train, named.dev, named.test)
    assert task.fingerprint == named.fingerprint
    assert "'sst2' is not in ../shared/data/tasks, and $LORA_JAX_TASKS is not set" in task.notes[0]
    assert "read as tfds:glue/sst2, another source" in task.notes[0]
    recorded = task.describe()
    assert recorded["name"] == "tfds:glue/sst2"
    assert recorded["notes"][0] == task.notes[0]


def test_a_folder_that_is_there_is_taken(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = nowhere / "tasks" / "sst2"
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(f"sentence\tlabel\n{split} a\t0\n{split} b\t1\n")
    monkeypatch.setenv("LORA_JAX_TASKS", str(nowhere / "tasks"))
    assert load_task(TaskConfig(name="sst2")).name == "sst2"


def test_without_a_network_it_is_refused_with_every_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Path:
        raise LoraJaxError("no host answers: connect to the network.")

    monkeypatch.setattr("lora_jax.data.tfds.prepare_set", refuse)
    for name in ("sst2", "rte"):
        with pytest.raises(LoraJaxError) as caught:
            load_task(TaskConfig(name=name))
        for words in ("LORA_JAX_TASKS is not set", "no host answers", f"holds {name}/", "'sentiment-sample'"):
            assert words in str(caught.value)


@pytest.mark.parametrize(("name", "other"), [("e2e", "e2e_cleaned"), ("qa", "squad"), ("xsum", "xsum")])
def test_another_task_never_stands_in(name: str, other: str) -> None:
    with pytest.raises(LoraJaxError, match=f"set LORA_JAX_TASKS .* or use 'tfds:{other}'"):
        load_task(TaskConfig(name=name), for_prompts=True)


def test_a_folder_named_by_hand_is_believed(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variable is set and the task is not in it, that is a mistake: nobody looks elsewhere."""
    Glue(config="sst2", data_dir=nowhere / "sets", file_format="array_record").download_and_prepare()
    monkeypatch.setenv("LORA_JAX_TASKS", str(nowhere / "empty"))
    with pytest.raises(LoraJaxError, match=r"not in \$LORA_JAX_TASKS .*empty"):
        load_task(TaskConfig(name="sst2"))
