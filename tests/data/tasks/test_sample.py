"""The task that ships: what its script composes, balanced, each word of opinion in one split alone."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import load_task, sample
from lora_jax.prompting.prompt import PROMPTS

FOLDER = Path(sample.__file__).parent / "sentiment_sample"
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sentences", FOLDER / "make_sentences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_writes(script: ModuleType) -> None:
    for split in SPLITS:
        assert (FOLDER / f"{split}.tsv").read_text() == script.render(split)


def test_no_sentence_and_no_word_of_opinion_is_in_two_splits(script: ModuleType) -> None:
    task = load_task(TaskConfig(name="sentiment-sample"))
    texts = {split: [example.text for example in getattr(task, split)] for split in SPLITS}
    everything = [text for split in SPLITS for text in texts[split]]
    assert len(everything) == len(set(everything)) == 840
    for split in SPLITS:
        for other in set(SPLITS) - {split}:
            words = [word for side in (*script.ADJECTIVES[other], *script.VERBS[other]) for word in side]
            found = [word for word in words if any(f" {word} " in f" {text} " for text in texts[split])]
            assert not found, (split, other)


def test_it_is_balanced_and_says_that_it_is_no_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORA_JAX_TASKS", raising=False)
    task = load_task(TaskConfig(name="sentiment-sample"))
    assert (task.kind, task.labels) == ("classification", ("negative", "positive"))
    for split, n in (("train", 480), ("dev", 120), ("test", 240)):
        assert Counter(e.label for e in getattr(task, split)) == {0: n // 2, 1: n // 2}
    assert any("synthetic and no benchmark" in note for note in task.notes)
    assert not any("both" in note for note in task.notes), "no input is in two splits"


def test_it_is_asked_as_sst2_is() -> None:
    assert PROMPTS["sentiment-sample"] == PROMPTS["sst2"]
    prompted = load_task(
        TaskConfig(name="sentiment-sample", template=PROMPTS["sst2"].template, answers=("bad", "good"))
    )
    assert prompted.test[0].text.startswith('The sentiment of the sentence "')
    assert {example.completion for example in prompted.test} == {" bad", " good"}
