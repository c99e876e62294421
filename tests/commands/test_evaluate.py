"""lora-jax evaluate: the score with its interval, what it cost, and a sentence for each mistake."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from lora_jax.commands.evaluate import combine_draws
from lora_jax.comparison.uncertainty import crossed_mean
from lora_jax.documents import to_document
from lora_jax.prompting.evaluate import Evaluation
from tests.commands.conftest import Mistake, Run
from tests.prompting.places import FEEL, make_places

PROMPT = ["--template", FEEL.template, "--answers", ",".join(FEEL.answers)]


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("evaluate"))


def command(places: Path, *more: object, model: str = "decoder", task: str = "feel") -> list[object]:
    return ["evaluate", places / "models" / model, f"files:{places / 'tasks' / task}", *PROMPT, *more]


def test_one_prompt_for_people(places: Path, run: Run) -> None:
    status, out, err = run(*command(places, "--examples", 4, "--show", 1))
    assert status == 0, err
    assert "4 questions" in out
    assert "accuracy" in out
    assert "majority" in out
    assert "tokens of prompts and answers" in out
    assert "Feeling:[ " in out


def test_draws_and_orders_as_json(places: Path, run: Run) -> None:
    args = ("--examples", 4, "--shots", 2, "--balanced", "--seeds", 2, "--orders", 2, "--json")
    status, out, err = run(*command(places, *args))
    assert status == 0, err
    found = json.loads(out)
    assert found["shots"] == {"k": 2, "balanced": True, "seeds": 2, "orders": 2}
    assert len(found["draws"]) == 4
    mean = np.mean([draw["scores"]["accuracy"]["value"] for draw in found["draws"]])
    assert found["scores"]["accuracy"]["value"] == pytest.approx(mean)
    assert found["n_tokens_asked"] == sum(draw["n_tokens_asked"] for draw in found["draws"])
    assert found["prompt"]["template"] == FEEL.template
    assert found["baselines"]["chance"] == 0.5


def fake(values_N: np.ndarray) -> Evaluation:
    """What combine_draws reads of an evaluation."""
    return cast(
        Evaluation, SimpleNamespace(values={"accuracy": values_N.tolist()}, scores={"accuracy": {"value": 1}})
    )


def test_the_interval_holds_draws_orders_and_questions() -> None:
    rng = np.random.default_rng(0)
    values_SON = (rng.random((3, 4, 50)) < rng.random((3, 1, 1))).astype(float)
    found = [fake(values_N) for values_N in values_SON.reshape(12, 50)]
    combined = combine_draws(found, 3, 4)["accuracy"]
    assert combined == to_document(crossed_mean(values_SON.mean(1), bounds=(0.0, 1.0)))
    assert combined["value"] == pytest.approx(values_SON.mean())
    of_orders = combine_draws(found[:4], 1, 4)["accuracy"]
    assert of_orders == to_document(crossed_mean(values_SON[0], bounds=(0.0, 1.0)))
    assert combine_draws(found[:1], 1, 1) == {"accuracy": {"value": 1}}


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        ([], {"model": "encoder"}, ["an encoder", "choose a language model"]),
        ([], {"task": "lone"}, ["no validation split", "add a dev or a test file"]),
        (["--shots", 41], {}, ["shots.k is 41 and the training set has 40"]),
        (["--shots", 41, "--balanced"], {}, ["balanced 21 of them", "has 20"]),
        (["--shots", -1], {}, ["--shots is -1"]),
        (["--seeds", 0], {}, ["--seeds is 0"]),
        (["--template", "{txet} is"], {}, ["'txet'", "nearest: 'text'"]),
        (["--template", ""], {}, ["names no column"]),
        (["--answers", "bad,"], {}, ["with commas between them"]),
        (["--answers", "a,b,c"], {}, ["3 words", "2 labels"]),
        (["--template", "{text} " + "so " * 200], {}, ["is a prompt of", "longer than the"]),
        (["--examples", 25], {}, ["the split has 24"]),
        (["--calibrate", "--generate"], {}, ["Calibration compares"]),
    ],
)
def test_mistakes_are_a_sentence(
    places: Path, mistake: Mistake, more: list[object], place: dict[str, Any], words: list[str]
) -> None:
    mistake(command(places, *more, **place), *words)


def test_an_unknown_model_and_task_are_named(places: Path, mistake: Mistake) -> None:
    mistake(["evaluate", "smolm2", "sst2"], "smolm2", "nearest: 'smollm2'")
    mistake(["evaluate", places / "models" / "decoder", "sst3"], "has no prompt of its own")


def test_a_task_that_is_not_there_is_said_before_a_model_is_loaded(
    places: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_jax.commands.evaluate.load_engine", pytest.fail)
    mistake(command(places, task="nowhere"), "tasks/nowhere")
