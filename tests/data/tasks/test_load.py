"""Reading tasks: all that is in the files comes out, splits share no input, draws are nested."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import TaskData, load_task
from lora_jax.errors import LoraJaxError

REVIEWS = [(f'"{i}" is {word}', label) for i in range(30) for word, label in (("fine", 1), ("dull", 0))]
COMPLETIONS = [(f"say {i // 3}", f" number {i}") for i in range(60)]  # three references a prompt


def write(
    folder: Path, split: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]], suffix: str
) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / f"{split}.{suffix}").open("w", newline="") as file:
        if suffix == "jsonl":
            file.writelines(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows)
        elif suffix == "csv":
            csv.writer(file).writerows([columns, *rows])
        else:
            file.writelines("\t".join(map(str, row)) + "\n" for row in [columns, *rows])


@pytest.fixture
def reviews(tmp_path: Path) -> str:
    """A folder with a train file of REVIEWS and no other split."""
    write(tmp_path / "reviews", "train", ("text", "label"), REVIEWS, "tsv")
    return f"files:{tmp_path / 'reviews'}"


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    """A folder with a train file of COMPLETIONS and no other split."""
    write(tmp_path / "prompts", "train", ("prompt", "completion"), COMPLETIONS, "jsonl")
    return f"files:{tmp_path / 'prompts'}"


def inputs(task: TaskData) -> list[set[Any]]:
    return [{e.input for e in split} for split in (task.train, task.dev, task.test)]


def load(name: str, **fields: Any) -> TaskData:
    return load_task(TaskConfig(name=name, **fields))


def test_the_known_tasks_are_read_whole(tasks_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_JAX_TASKS", str(tasks_folder))
    sst2, rte, e2e = load("sst2"), load("rte"), load("e2e")
    for split, name in ((sst2.dev, "dev"), (sst2.test, "test")):
        lines = (tasks_folder / "sst2" / f"{name}.tsv").read_text().splitlines()[1:]
        assert [(e.text, str(e.label)) for e in split] == [
            (line.split("\t")[0].strip(), line.split("\t")[1]) for line in lines
        ]
    assert (len(sst2.train), len(sst2.dev), len(sst2.test)) == (60_614, 6_735, 872)
    assert (len(rte.train) + len(rte.dev), len(rte.test)) == (2_490, 277)
    assert Counter(rte.labels[e.label or 0] for e in rte.test) == {"entailment": 146, "not_entailment": 131}
    assert sum(len(e.references) for e in (*e2e.train, *e2e.dev)) == 4_672
    assert (len(e2e.test), sum(len(e.references) for e in e2e.test)) == (630, 4_693)
    for task in (rte, e2e):
        train, dev, test = inputs(task)
        assert len(train) + len(dev) + len(test) == len(train | dev | test)
    assert any("cut from E2E's valid.txt" in note for note in e2e.notes)
    assert any("75 inputs are in both train and dev" in note for note in sst2.notes)


@pytest.mark.parametrize("seed", range(3))
def test_missing_splits_are_cut_by_input(prompts: str, reviews: str, seed: int) -> None:
    task = load(prompts, n_dev=4, n_test=5, data_seed=seed)
    train, dev, test = inputs(task)
    assert len(train) + len(dev) + len(test) == len(train | dev | test)
    assert (len(task.dev), len(task.test), len(train)) == (4, 5, 11)
    found = sorted(
        (e.text, r) for split in (task.train, task.dev, task.test) for e in split for r in e.references
    )
    assert found == sorted(COMPLETIONS), "every reference is somewhere, once"
    assert {len(e.references) for e in task.train} == {1}, "in training each reference is a row of its own"
    assert {len(e.references) for e in (*task.dev, *task.test)} == {3}
    tenths = load(reviews, data_seed=seed)
    assert [len(s) for s in (tenths.train, tenths.dev, tenths.test)] == [49, 6, 5]


def test_draws_are_nested_and_named_by_the_seed(reviews: str) -> None:
    few, more = load(reviews, n_train=10, n_dev=6, n_test=6), load(reviews, n_train=20, n_dev=6, n_test=6)
    assert few.train == more.train[:10]
    assert few.dev == more.dev
    assert few.fingerprint == more.fingerprint, "the fingerprint is of what was read"
    other = load(reviews, n_train=20, n_dev=6, n_test=6, data_seed=1)
    assert set(other.train) != set(more.train)
    assert set(other.dev) != set(more.dev)


def test_every_format_reads_alike(tmp_path: Path) -> None:
    tasks = []
    for suffix in ("tsv", "csv", "jsonl"):
        for split in ("train", "dev", "test"):
            write(tmp_path / suffix, split, ("text", "label"), REVIEWS, suffix)
        tasks.append(load(f"files:{tmp_path / suffix}"))
    assert tasks[0].train == tasks[1].train == tasks[2].train
    assert tasks[0].fingerprint == tasks[1].fingerprint == tasks[2].fingerprint
    assert tasks[0].train[0].text == '"0" is fine'
    write(tmp_path / "tsv", "dev", ("text", "label"), [*REVIEWS[:-1], (REVIEWS[-1][0], 1)], "tsv")
    assert load(f"files:{tmp_path / 'tsv'}").fingerprint != tasks[0].fingerprint


def test_a_template_makes_labels_into_words(tmp_path: Path) -> None:
    rows = [(f"bad {i}", "b", "down") for i in range(20)] + [(f"good {i}", "a", "up") for i in range(20)]
    for split in ("train", "dev", "test"):
        write(tmp_path / "words", split, ("text", "more", "label"), rows, "csv")
    task = load(f"files:{tmp_path / 'words'}", template="{text} {{{more}}}:")
    assert (task.kind, task.labels) == ("generation", ("down", "up"))
    assert task.test[0] == ("bad 0 {b}:", None, 0, " down", (" down",))
    assert load(f"files:{tmp_path / 'words'}", template="{text}\n").train[0].completion == "down"
    other = load(f"files:{tmp_path / 'words'}", template="{text}:", answers=("falls", "rises"))
    assert other.train[0].completion == " falls"
    assert other.labels == task.labels


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "sst3"}, "'sst3' .nearest: 'sst2'."),
        ({"name": "tfds:glue/sst3"}, "nearest: 'glue/sst2'"),
        ({"name": "files:nowhere"}, "holds no train.jsonl"),
        ({"template": "{sentence} is"}, "names the column 'sentence' .*known: text"),
        ({"template": "{tex} is"}, "names the column 'tex' .*nearest: 'text'"),
        ({"template": "{text is"}, "braces do not pair"),
        ({"template": "{text!r} is"}, "braces may hold only the name of a column"),
        ({"template": "It is"}, "names no column"),
        ({"template": "{text} is", "answers": ("bad",)}, "task.answers has 1 words and .* has 2 labels"),
        ({"n_train": 1000}, "task.n_train is 1000 and there are 49"),
        ({"n_dev": 60}, "task.n_dev is 60, to be cut from the 60 different inputs"),
    ],
)
def test_mistakes_in_the_config_are_named(reviews: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        load(**({"name": reviews} | fields))


@pytest.mark.parametrize(
    ("split", "content", "message"),
    [
        ("dev", "text\tlabel\nfilm\t2\n", "Line 2 of .*dev.tsv has the label '2', which no row of train"),
        ("dev", "text\tlabel\n", "dev.tsv has no rows"),
        ("train", "text\tlabel\nfilm\n", "Line 2 of .*train.tsv has 1 columns and the header 2"),
        ("train", "text\tlable\nfilm\t1\n", "has the columns text, lable, but it must have"),
        ("train", "text\tlabel\nfilm\t\n", "Line 2 of .*has an empty label"),
        ("train", "text\tlabel\nfilm\t1\nbook\t1\n", "has the one label '1'"),
        ("test", "text\tlabel\n \t1\n", "Row 2 of split 'test' .* has no text in 'text'"),
        ("test", "txt\tlabel\nfilm\t1\n", r"has no text in 'text' \(nearest: 'txt'\)"),
    ],
)
def test_mistakes_in_files_are_named(reviews: str, split: str, content: str, message: str) -> None:
    (Path(reviews.removeprefix("files:")) / f"{split}.tsv").write_text(content)
    with pytest.raises(LoraJaxError, match=message):
        load(reviews)


def test_a_task_that_is_not_there_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_JAX_TASKS", str(tmp_path))
    with pytest.raises(LoraJaxError, match=r"set LORA_JAX_TASKS .* or use 'tfds:glue/sst2'"):
        load("sst2")
    (tmp_path / "e2e").mkdir()
    (tmp_path / "e2e" / "valid.txt").write_text("name : Blue Spice|A coffee shop .\n")
    with pytest.raises(LoraJaxError, match=r"Line 1 of .*it must be 'attributes\|\|sentence'"):
        load("e2e")
