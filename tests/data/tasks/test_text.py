"""Text as a task: windows of documents, each token predicted once, no document in two splits."""

from pathlib import Path

import numpy as np
import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import load_task
from lora_jax.data.tasks.text import TextTask, is_text, load_text
from lora_jax.errors import LoraJaxError

N_DOCUMENTS, LENGTH = 60, 40  # document i is LENGTH times the word i
VOCABULARY = N_DOCUMENTS + 1  # and the separator, 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("text")
    for i in range(N_DOCUMENTS):
        (folder / f"{i}.txt").write_text(" ".join([f"w{i}"] * LENGTH))
    words = {"<eos>": 0, **{f"w{i}": i + 1 for i in range(N_DOCUMENTS)}}
    inner = Tokenizer(models.WordLevel(words, unk_token="<eos>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.save(str(folder / "tokenizer.json"))
    return folder


def load(place: Path, **fields: object) -> TextTask:
    task = TaskConfig(**{"name": f"text:files:{place}/*.txt", "max_tokens": 9, **fields})  # pyright: ignore[reportArgumentType]
    return load_text(task, place / "tokenizer.json", VOCABULARY, lambda _: None)


def test_no_document_is_in_two_splits(place: Path) -> None:
    found = load(place, n_dev=1000, n_test=1000)
    words = [
        set(np.unique(np.concatenate(split.tokens)).tolist()) - {0}
        for split in (found.train, found.dev, found.test)
    ]
    assert all(words)
    assert not words[0] & words[1]
    assert not words[0] & words[2]
    assert not words[1] & words[2]


def test_every_token_is_predicted_once(place: Path) -> None:
    found = load(place)
    predicted = np.concatenate([row[1:] for row in found.train.tokens])
    counts = np.bincount(predicted, minlength=VOCABULARY)[1:]
    # the windows are all there are, and what is left at the end of the stream is shorter than one
    total = counts.sum() + np.sum(predicted == 0)
    assert total == len(found.train) * 8
    assert counts.max() <= LENGTH
    assert np.sum(np.isin(counts, (0, LENGTH))) >= N_DOCUMENTS - 2  # but for an edge
    assert (found.train.n_prompt_N == 1).all()
    assert (found.train.lengths_N == 8).all()


def test_fewer_windows_are_among_more_and_another_seed_draws_others(place: Path) -> None:
    few, many = load(place, n_train=16).train, load(place, n_train=64).train
    assert [row.tolist() for row in few.tokens] == [row.tolist() for row in many.tokens[:16]]
    other = load(place, n_train=16, data_seed=1).train
    assert [row.tolist() for row in few.tokens] != [row.tolist() for row in other.tokens]


def test_description_names_the_source_and_its_tokenizer(place: Path) -> None:
    found = load(place, n_train=16)
    described = found.data.describe()
    assert described["kind"] == "text"
    assert "splits" not in described
    assert described["text"]["sources"][0]["name"].startswith("files:")
    assert found.bytes_per_token is not None
    assert found.bytes_per_token > 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_train": 10**6}, "windows of task.max_tokens"),
        ({"template": "{text} is"}, "task.template"),
        ({"max_tokens": 2}, "at least 3"),
        ({"name": "text:nothing"}, "nothing"),
        ({"name": "text:package:no-such-package"}, "no-such-package"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(place: Path, fields: dict[str, object], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        load(place, **fields)


def test_one_held_out_document_cannot_be_dev_and_test(tmp_path: Path, place: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.txt").write_text(" ".join([f"w{i}"] * LENGTH))
    with pytest.raises(LoraJaxError, match="too few documents"):
        load(place, name=f"text:files:{tmp_path}/*.txt")


def test_text_is_no_task_for_prompts() -> None:
    assert is_text(TaskConfig(name="text:sotu"))
    assert not is_text(TaskConfig(name="sst2"))
    with pytest.raises(LoraJaxError, match="labelled task"):
        load_task(TaskConfig(name="text:sotu"), for_prompts=True)
