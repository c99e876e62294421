"""Benchmarks: every row is read, the canary is none of them, and nothing is trained on them."""

import json
from pathlib import Path

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import load_task
from lora_jax.data.tasks.benchmark import hold_aside, read_benchmark
from lora_jax.errors import LoraJaxError

CANARY = {"canary": "never train on this"}
ROWS = [{"question": f"q{i} ?", "context": f"c {i // 3}", "answer": f" a{i}"} for i in range(60)]


def write(folder: Path, lines: list[object]) -> Path:
    path = folder / "qa" / "disfl_qa.jsonl"
    path.parent.mkdir()
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize(("name", "n", "context"), [("qa", 2000, "context"), ("xsum", 1001, "document")])
def test_the_known_benchmarks_are_read_whole(
    tasks_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, n: int, context: str
) -> None:
    monkeypatch.setenv("LORA_JAX_TASKS", str(tasks_folder))
    task = load_task(TaskConfig(name=name, template=f"{{{context}}} so"), for_prompts=True)
    several = (task.train, task.dev, task.test)
    assert sum(len(e.references) for split in several for e in split) == n
    assert task.kind == "generation"
    assert not any("canary guid" in e.text.lower() for split in several for e in split)
    texts = [{e.text for e in split} for split in several]
    assert sum(map(len, texts)) == len(set.union(*texts)), "no text is shown that is asked about"
    assert len(task.test) > 4 * (len(task.train) + len(task.dev))
    assert any("nothing may be trained on it" in note for note in task.notes)
    if name == "qa":
        assert all(r.strip() in e.text for e in task.test for r in e.references), "answers are spans"
    with pytest.raises(LoraJaxError, match=rf"'{name}' is for evaluation and has no train split"):
        load_task(TaskConfig(name=name))


def test_rows_come_as_they_are_and_the_canary_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, [CANARY, *ROWS])
    rows = read_benchmark(path, ("question", "context"), "answer")
    assert [(r.fields["question"], r.fields["context"], r.completion) for r in rows] == [
        (row["question"], row["context"], row["answer"].strip()) for row in ROWS
    ]
    assert rows[0].number == 2


def test_what_is_held_aside_shares_no_text_with_the_test(tmp_path: Path) -> None:
    rows = read_benchmark(write(tmp_path, [CANARY, *ROWS]), ("question", "context"), "answer")
    splits = hold_aside(rows, "context")
    assert sorted(splits["aside"] + splits["test"]) == sorted(rows)
    aside, test = ({row.fields["context"] for row in splits[name]} for name in ("aside", "test"))
    assert (len(aside), len(test), len(aside & test)) == (2, 18, 0)
    assert hold_aside(rows, "context") == splits, "the same ones always"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([CANARY, "{"], r"Line 2 of .*disfl_qa.jsonl is not JSON"),
        ([CANARY, ROWS[0], {"question": "q", "context": "c"}], r"Line 3 of .* has no text in 'answer'"),
        ([CANARY, ROWS[0], {**ROWS[1], "context": " "}], r"Line 3 of .* has no text in 'context'"),
        ([CANARY, ["a"]], r"Line 2 of .* has no text in 'question'"),
        ([CANARY], r"has no rows"),
        ([ROWS[0]], r"has 1 text in 'context', at least two"),
    ],
)
def test_mistakes_in_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[object], message: str
) -> None:
    write(tmp_path, lines)
    monkeypatch.setenv("LORA_JAX_TASKS", str(tmp_path))
    with pytest.raises(LoraJaxError, match=message):
        load_task(TaskConfig(name="qa"), for_prompts=True)


def test_a_benchmark_that_is_not_there_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_JAX_TASKS", str(tmp_path))
    with pytest.raises(LoraJaxError, match=r"use 'tfds:xsum'"):
        load_task(TaskConfig(name="xsum"), for_prompts=True)
