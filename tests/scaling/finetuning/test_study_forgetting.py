"""Forgetting: the law is found where there is one and refused where there is none, the frontier by hand."""

from dataclasses import replace

import numpy as np
import pytest

from lora_jax.estimate import Estimate
from lora_jax.scaling.finetuning.forgetting import mark_frontier, measure_forgetting
from lora_jax.scaling.finetuning.forgetting_results import ForgottenRun
from lora_jax.scaling.finetuning.study_runs import StudyRun
from tests.scaling.finetuning.made_up_study import METHODS, World, make_study

TWO = {name: METHODS[name] for name in ("full", "LoRA r 4")}
BASES = (10_000, 100_000, 1_000_000)


def one(loss: float, change: float, name: str = "a") -> ForgottenRun:
    return ForgottenRun(
        f"{name}-{loss}-{change}",
        name,
        "base",
        1000,
        64,
        4032,
        8,
        None,
        0.01,
        0,
        loss,
        Estimate(change, None, None),
        True,
        False,
    )


def test_the_exponents_of_a_law_are_found() -> None:
    found = measure_forgetting(make_study(World(forgotten={"full": 0.03}), TWO, bases=BASES))
    assert found is not None
    for law in found.laws:
        assert law.follows
        for letter, truth in (("F", 0.5), ("N", -0.3)):
            assert law.exponents[letter].low <= truth <= law.exponents[letter].high
            assert law.exponents[letter].value == pytest.approx(truth, abs=0.02)
    full, lora = (law.at for law in found.laws)
    assert full is not None
    assert lora is not None
    assert {law.method for law in found.laws} == set(TWO)
    by_name = {law.method: law.at for law in found.laws}
    assert by_name["full"] is not None and by_name["LoRA r 4"] is not None  # noqa: PT018
    assert by_name["full"].value / by_name["LoRA r 4"].value == pytest.approx(3, rel=0.05)


def scaled(run: StudyRun, factor: float) -> StudyRun:
    study = run.finetuning.study
    assert study.source is not None
    change = study.source.change
    moved = replace(study.source, change=replace(change, value=factor * change.value))
    return replace(run, finetuning=replace(run.finetuning, study=replace(study, source=moved)))


def test_what_scatters_follows_no_law() -> None:
    rng = np.random.default_rng(0)
    runs = [scaled(run, float(rng.choice([0.2, 5.0]))) for run in make_study(World(), TWO, bases=BASES)]
    found = measure_forgetting(runs)
    assert found is not None
    assert not any(law.follows for law in found.laws)


def test_what_is_not_forgotten_follows_no_law() -> None:
    found = measure_forgetting([scaled(run, -1.0) for run in make_study(World(), TWO, bases=BASES)])
    assert found is not None
    assert [law.exponents for law in found.laws] == [{}, {}]
    assert "nothing was forgotten" in found.laws[0].words


def test_the_frontier_has_the_runs_that_no_other_beats_in_both() -> None:
    runs = [one(3.0, 0.5), one(3.1, 0.4), one(3.2, 0.45), one(3.3, 0.1), one(2.9, 0.9), one(2.95, 1.0)]
    on = [run.on_frontier for run in mark_frontier(runs)]
    assert on == [True, True, False, True, True, False]


def test_the_method_that_forgets_less_is_counted() -> None:
    world = World(forgotten={"full": 0.03}, extra={"LoRA r 4": 0.05})
    found = measure_forgetting(make_study(world, TWO, sizes=(64, 1024)))
    assert found is not None
    counted = {s.method: (s.n_places, s.n_on, s.n_least_loss, s.n_least_forgotten) for s in found.shares}
    assert counted["full"] == (2, 2, 2, 0)
    assert counted["LoRA r 4"] == (2, 2, 0, 2)
