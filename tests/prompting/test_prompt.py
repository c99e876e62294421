"""Prompts: the built-in ones, what is changed of them, and what makes none."""

from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import TaskConfig
from lora_jax.errors import LoraJaxError
from lora_jax.prompting.load import load_prompted
from lora_jax.prompting.prompt import PROMPTS, Prompt, find_prompt


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("sst2", "sst2"),
        ("tfds:glue/sst2", "sst2"),
        ("tfds:glue/rte:2.0.0", "rte"),
        ("tfds:glue/mnli", "mnli"),
        ("tfds:squad", "squad"),
        ("tfds:squad/v1.1:3.0.0", "squad"),
        ("tfds:xsum", "xsum"),
        ("tfds:e2e_cleaned", "e2e"),
    ],
)
def test_a_set_has_the_prompt_of_its_task(task: str, name: str) -> None:
    assert find_prompt(task) == PROMPTS[name]


def test_what_is_given_is_changed() -> None:
    found = find_prompt("sst2", template="{sentence} It was", answers=("bad", "good"))
    assert (found.template, found.answers) == ("{sentence} It was", ("bad", "good"))
    assert (found.scorer, found.neutral) == (PROMPTS["sst2"].scorer, PROMPTS["sst2"].neutral)
    assert find_prompt("sst2", scorer="generate").answers == ("negative", "positive")
    assert find_prompt("files:x", "{text} is", ("a", "b")).scorer == "likelihood"
    assert find_prompt("files:x", "{text} is").scorer == "generate"


def test_parts_of_a_template() -> None:
    prompt = PROMPTS["rte"]
    assert prompt.columns == ("sentence1", "sentence2")
    assert prompt.tail == " True or False?\nAnswer:"
    assert prompt.follow("True") == " True"
    assert Prompt("{a}\n", ("x", "y")).follow("x") == "x"
    assert Prompt("so {a}", ("x", "y")).tail == ""


@pytest.mark.parametrize("name", ["sst2", "rte", "qa", "xsum"])
def test_the_built_in_prompts_fit_their_tasks(name: str, tasks_folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LORA_JAX_TASKS", str(tasks_folder))
    prompt = PROMPTS[name]
    task = load_prompted(TaskConfig(name=name, n_train=50, n_dev=5, n_test=20), prompt)
    assert (len(task.train), len(task.dev), len(task.test)) == (50, 5, 20)
    for example in (*task.train, *task.test):
        assert example.text.endswith(prompt.tail)
        if prompt.answers:
            assert example.references == (prompt.follow(prompt.answers[example.label or 0]),)
        else:
            assert all(reference.startswith(" ") for reference in example.references)
    if name in ("qa", "xsum"):
        assert any("nothing may be trained on it" in note for note in task.notes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": ""}, "names no column"),
        ({"template": "{a} {"}, "braces do not pair"),
        ({"answers": ("one",)}, "has 1 answers, of which the likelihood of at least two"),
        ({"answers": ("one", " ")}, "of which ' ' has no words"),
        ({"answers": ("one", "one")}, "two of which are the same words"),
        ({"scorer": "generation"}, "scorer is 'generation', but it must be 'likelihood' or 'generate'"),
        ({"scores": ("rouge_3",)}, "no score 'rouge_3' .nearest"),
        ({"n_new": 0}, "n_new is 0"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        Prompt(**({"template": "{a} is", "answers": ("one", "two")} | fields))


@pytest.mark.parametrize(
    ("task", "prompt", "message"),
    [
        ("feel", Prompt("{txet} is", ("a", "b")), "names the column 'txet' .*nearest: 'text'"),
        ("feel", Prompt("{text} is", ("a", "b", "c")), "has 3 words and .* has 2 labels"),
        ("lone", Prompt("{text} is", ("a", "b")), "no validation split"),
    ],
)
def test_prompts_that_do_not_fit_a_task_are_refused(
    places: Path, task: str, prompt: Prompt, message: str
) -> None:
    with pytest.raises(LoraJaxError, match=message):
        load_prompted(TaskConfig(name=f"files:{places / 'tasks' / task}"), prompt)


def test_a_task_without_a_prompt_asks_for_a_template() -> None:
    with pytest.raises(LoraJaxError, match=r"'tfds:glue/cola' has no prompt of its own, sst2, rte"):
        find_prompt("tfds:glue/cola")
