"""In-context learning beside fine-tuning: scores, crossings and sentences of records whose truth is known."""

import copy
import re
from typing import Any

import numpy as np
import pytest

from lora_jax.comparison.crossing import find_passing
from lora_jax.comparison.incontext import compare_incontext
from lora_jax.comparison.incontext_conclusions import say_incontext
from lora_jax.comparison.incontext_records import ScoredPrompt, dealt_from_document
from lora_jax.comparison.incontext_results import Cost, Difference, InContextComparison
from lora_jax.comparison.uncertainty import crossed_mean, paired_difference
from lora_jax.documents import from_document, to_document
from lora_jax.errors import LoraJaxError
from tests.comparison.tuned_fields import RUN, TUNING, score

N_TEST, DRAWS = 200, (0, 1, 2)
FACTS = {"device": "cpu", "versions": {}, "git_commit": None, "created_at": "2026-01-01T00:00:00+00:00"}


def compare(prompts: list[dict[str, Any]], runs: list[dict[str, Any]]) -> InContextComparison:
    return compare_incontext(
        [from_document(ScoredPrompt, record) for record in prompts],
        [dealt_from_document(record) for record in runs],
    )


def draw_rights(rng: Any, chance: float, hardness_N: np.ndarray) -> list[int]:
    return (rng.random(N_TEST) < np.clip(chance + hardness_N, 0, 1)).astype(int).tolist()


def make_prompt(k: int, draw: int, rights: list[int], calibrated: list[int] | None = None) -> dict[str, Any]:
    def half(found: list[int]) -> dict[str, Any]:
        return {"rights": found, "n_tokens_run": 1000 + 30 * k, "seconds": 5.0 + k}

    return {
        "run_id": f"task-k{k}-s{draw}",
        "n_shots": float(k),
        "notes": [],
        "config": {
            "base": "lm",
            "label": "task",
            "k": k,
            "draw": draw,
            "task": {"prompt": {"answers": ["no", "yes"]}},
        },
        "plain": half(rights),
        "calibrated": None if calibrated is None else half(calibrated),
        **FACTS,
    }


def make_run(
    label: str,
    n: int,
    draw: int,
    rights: list[int],
    *,
    base: str = "lm",
    rate: float = 1e-3,
    dev: float = 0.5,
    is_all: bool = False,
) -> dict[str, Any]:
    head = base != "lm"
    return {
        "run_id": f"{base}-{label}-{n}-{draw}-{rate}",
        "status": "done" if rights else "diverged",
        "learning_rate": rate,
        "n_tokens": 100 * n,
        "n_steps": 40,
        "wall_seconds": 30.0,
        "config": {},
        "data": {
            "in_context": {"label": "task", "n": None if is_all else n, "draw": draw, "head": head},
            "splits": {"train": {"examples": n}},
            "encoded": {"test": {"tokens": 4000}},
            "labels": ["a", "b"],
        },
        "finetuning": {
            "base": base,
            "label": label,
            "seconds_per_step": 0.5,
            "test_values": rights,
            "method": {"method": label},
            "dev": {"accuracy" if head else "loss": score(dev)},
            **TUNING,
        },
        **RUN,
        **FACTS,
    }


@pytest.fixture(scope="module")
def records() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Prompts that are right at 0.55 to 0.7, fine-tuning at 0.5 (n 8), 0.7 (n 32) and 0.95 (n 128, 512)."""
    rng = np.random.default_rng(1)
    hardness_N = np.where(rng.random(N_TEST) < 0.3, -0.1, 0.04)
    prompts = [make_prompt(0, 0, draw_rights(rng, 0.55, hardness_N))]
    prompts += [make_prompt(8, d, *(draw_rights(rng, c, hardness_N) for c in (0.6, 0.7))) for d in DRAWS]
    runs = []
    for base, label in (("lm", "full"), ("lm", "LoRA"), ("encoder", "full")):
        for n, chance in ((8, 0.5), (32, 0.7), (128, 0.95), (512, 0.95)):
            runs += [make_run(label, n, d, draw_rights(rng, chance, hardness_N), base=base) for d in DRAWS]
    return prompts, runs


def test_scores_and_differences_are_those_of_the_laboratory(records) -> None:
    prompts, runs = records
    (task,) = compare(prompts, runs).tasks
    assert (task.n_test, task.chance) == (N_TEST, 0.5)
    assert task.best_line is not None
    assert task.best_prompt is not None
    assert (task.best_line.label, task.best_prompt.n) == ("k-shot, calibrated", 8)
    theirs = np.array([p["calibrated"]["rights"] for p in prompts[1:]], float)
    assert task.best_prompt.score == crossed_mean(theirs, (0.0, 1.0))
    crossing = next(c for c in task.crossings if task.lines[c.line].label == "LoRA")
    ours = np.array([r["finetuning"]["test_values"] for r in runs if r["run_id"].startswith("lm-LoRA-32")])
    expected = to_document(paired_difference(ours - theirs))
    point = crossing.points[1]
    document = to_document(point)
    assert {name: document[name] for name in expected} == expected
    assert (point.n, point.n_draws) == (32, 3)


def test_fine_tuning_passes_where_it_is_above_from_there_on(records) -> None:
    found = compare(*records)
    (task,) = found.tasks
    assert [c.passes_at for c in task.crossings] == [128, 128, 128]
    assert [c.same_base for c in task.crossings] == [True, True, False]
    verdict = found.verdict
    assert verdict[0].startswith("task: the best prompt is lm, 8-shot, calibrated. Its accuracy is 0.6")
    assert verdict[1].startswith(
        "task, lm, full: with 128 examples it is better than the best prompt (accuracy 0.9"
    )
    assert re.search(
        r"With 8( and 32)? examples it is (worse than|not distinguishable from) that prompt", verdict[1]
    )
    assert any("They do not compare two ways to teach one model" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("points", "passes"),
    [
        ([(8, 0.1, True), (32, 0.2, True)], 8),
        ([(8, 0.1, True), (32, 0.1, False), (128, 0.3, True)], 128),
        ([(8, 0.1, True), (32, 0.1, False)], None),
        ([(8, -0.1, True)], None),
        ([], None),
    ],
)
def test_one_lucky_number_of_examples_is_no_passing(points, passes) -> None:
    differences = [
        Difference(v, None, None, n=n, n_draws=3, p=0.01, distinguishable=d, after_holm=d)
        for n, v, d in points
    ]
    assert find_passing(differences) == passes


def test_a_prompt_without_examples_stands_beside_every_draw(records) -> None:
    prompts, runs = records
    (task,) = compare(prompts[:1], runs).tasks
    zero = np.array(prompts[0]["plain"]["rights"], float)
    ours = np.array([r["finetuning"]["test_values"] for r in runs[:3]], float)
    assert task.crossings[0].points[0].value == pytest.approx((ours - zero).mean())
    assert task.crossings[0].points[0].n_draws == 3


def test_the_dev_split_chooses_the_rate_by_the_first_draw(records) -> None:
    prompts, _ = records
    rng = np.random.default_rng(0)
    flat = np.zeros(N_TEST)
    runs = [make_run("LoRA", 8, d, draw_rights(rng, 0.6, flat), rate=1e-3, dev=0.4) for d in DRAWS]
    runs.append(make_run("LoRA", 8, 0, draw_rights(rng, 0.9, flat), rate=1e-2, dev=0.9))
    runs.append(make_run("LoRA", 8, 0, [], rate=1e-1))
    found = compare(prompts, runs)
    (point,) = next(line for line in found.tasks[0].lines if not line.is_prompt).points
    assert (point.rate, point.at_edge, point.draws) == (1e-3, "lowest", (0, 1, 2))
    assert any("We left out 1 fine-tuning run that diverged" in line for line in found.warnings)
    assert any("may be better: lm, LoRA with 8 examples (lowest, 0.001)" in line for line in found.warnings)


def test_what_weakens_a_comparison_is_said(records) -> None:
    prompts, runs = copy.deepcopy(records)
    prompts[1]["notes"] = ["3 of 9 prompts hold fewer"]
    lonely = [r for r in runs if r["data"]["in_context"]["draw"] == 0]
    warnings = compare(prompts, lonely).warnings
    assert any(
        "one draw of examples" in line and "lm, full with 8, 32, 128 and 512 examples" in line
        for line in warnings
    )
    assert "task, 8-shot: 3 of 9 prompts hold fewer." in warnings
    assert any("only one learning rate was tried" in line for line in warnings)


def test_either_half_may_be_missing(records) -> None:
    prompts, runs = records
    assert say_incontext(compare(prompts, []).tasks)[-1] == "task: nothing was fine-tuned."
    (said,) = compare([], runs).verdict
    assert "no prompt was scored" in said


def test_what_cannot_be_compared_is_a_sentence(records) -> None:
    prompts, runs = copy.deepcopy(records)
    with pytest.raises(LoraJaxError, match="no finished run to compare"):
        compare([], [])
    runs[0]["finetuning"]["test_values"] = [1.0] * 10
    with pytest.raises(LoraJaxError, match="tested on 10 and 200 examples"):
        compare(prompts, runs)


def test_costs_are_of_what_went_through_the_model(records) -> None:
    (task,) = compare(*records).tasks
    prompt = next(p for line in task.lines if line.label == "k-shot" for p in line.points if p.n == 8)
    assert prompt.learn == Cost(0.0, 0.0)
    assert prompt.answer == Cost(1240.0, 13.0)
    tuned = next(line for line in task.lines if not line.is_prompt).points[0]
    assert tuned.learn == Cost(800.0, 20.0)
    assert tuned.answer == Cost(4000.0, None)
