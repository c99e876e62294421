"""Recipes compared by laws: exact ratios from exact points, what is refused, and what is warned of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.joint.group_laws import HowToFit, laws_together
from lora_jax.scaling.joint.grouped_law import GROUP, grouped
from lora_jax.scaling.laws import CHINCHILLA, find_law, power_law
from lora_jax.scaling.prediction.allocation import serving
from lora_jax.scaling.speedups.question import Question
from lora_jax.scaling.speedups.ratio import least_compute
from lora_jax.scaling.speedups.recipes import make_recipe
from lora_jax.scaling.speedups.results import SpeedupReport
from lora_jax.scaling.speedups.speedup import compare_recipes
from lora_jax.scaling.tables.table import RunTable, make_table, read_table

E, ALPHA, BETA = 1.7, 0.34, 0.28
N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4)))


def runs(scale: float, noise: float = 0.0, seed: int = 0, **more: Any) -> RunTable:
    """Return runs whose terms are `scale` times the usual: at equal loss they need scale^(1/gamma) of C."""
    loss = E + scale * (400 * N**-ALPHA + 410 * D**-BETA)
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(loss)))
    return make_table(f"runs {scale:g}", n_params=N, n_tokens=D, loss=loss, **more)


def compare(a: RunTable, b: RunTable, **asked: Any) -> SpeedupReport:
    question = Question(**{"n_bootstrap": 100, "objective": "squared", **asked})
    return compare_recipes(make_recipe("A", a), [make_recipe("B", b)], question)


def test_a_speedup_is_the_power_of_the_losses_above_the_floor() -> None:
    """((L_A - E) / (L_B - E))^(1/gamma), gamma = alpha beta / (alpha + beta), at every scale."""
    found = compare(runs(1.0), runs(0.95))
    gamma = ALPHA * BETA / (ALPHA + BETA)
    of_compute = [point for point in found.recipes[0].points if point.of == "C"]
    assert len(of_compute) == 5
    for point in of_compute:
        assert point.speedup.value == pytest.approx((1 / 0.95) ** (1 / gamma), rel=1e-4)


def test_tokens_at_equal_size_follow_from_the_law() -> None:
    found = compare(runs(1.0), runs(0.95))
    at_n = [point for point in found.recipes[0].points if point.of == "D"]
    assert [point.at["N"] for point in at_n] == pytest.approx(sorted(set(N)))
    for point in at_n:
        rest = 0.95 * 410 * point.at["D"] ** -BETA - 0.05 * 400 * point.at["N"] ** -ALPHA
        assert point.needed == pytest.approx((rest / 410) ** (-1 / BETA), rel=1e-3)
        assert point.beyond == pytest.approx(point.needed / 1e11, rel=1e-6)


def test_a_recipe_against_itself_gains_nothing() -> None:
    found = compare(runs(1.0, 0.005, 1), runs(1.0, 0.005, 2))
    for point in found.recipes[0].points:
        assert point.speedup.low < 1 < point.speedup.high, point


def test_the_least_compute_of_a_loss_is_that_of_the_search() -> None:
    problem = pose(CHINCHILLA, runs(1.0))
    theta = CHINCHILLA.to_theta({"E": E, "A": 400, "B": 410, "alpha": ALPHA, "beta": BETA}, problem.centre)
    thetas, loss = np.stack([theta, theta]), np.array([2.5, E - 0.01])
    searched = serving(problem, thetas, loss, 0)["FLOPs"]
    found = least_compute(problem, thetas, loss)
    assert found[0] == pytest.approx(searched[0], rel=1e-6)
    assert np.isnan(searched[1])
    assert found[1] == np.inf


def test_groups_share_what_they_are_told_to_share() -> None:
    tables = [runs(1.0, 0.004, 1), runs(0.9, 0.004, 2)]
    how = HowToFit(CHINCHILLA, "squared", ("E", "alpha"), n_bootstrap=50)
    first, second = laws_together(tables, how)
    assert first.params["E"] == second.params["E"]
    assert first.params["alpha"] == second.params["alpha"]
    assert first.params["beta"] != second.params["beta"]
    np.testing.assert_array_equal(first.samples_of_params["E"], second.samples_of_params["E"])


def test_slopes_of_a_grouped_law_are_differences() -> None:
    law = grouped(power_law("D", irreducible=True), 2, ["E"])
    table = make_table("t", n_tokens=D[::4], loss=np.full(4, 2.0), group=[1, 2, 2, 1])
    features = law.features({"D": table.variable("D"), GROUP: table[GROUP]}, {"D": 1e10})
    theta, step = np.array([0.5, -1.0, 0.3, -0.8, 0.25]), 1e-6
    assert law.names == ("E", "D_c[1]", "alpha_D[1]", "D_c[2]", "alpha_D[2]")
    slopes = law.slopes(theta[None], features)
    for i in range(5):
        moved = np.stack([theta, theta])
        moved[:, i] += [step, -step]
        above, below = law.log_response(moved, features)
        np.testing.assert_allclose(slopes.across[0, i], (above - below) / 2 / step, atol=1e-8)


def test_pinned_and_shared_floors_are_kept() -> None:
    found = compare(runs(1.0, 0.004, 1), runs(0.95, 0.004, 2), fixed={"E": 1.7})
    assert found.baseline_fits[0].params["E"].is_fixed
    assert all(point.floors is None for point in found.recipes[0].points), "no floor was fitted"


@pytest.mark.parametrize(
    ("change", "asked", "words"),
    [
        (lambda t: t.take(t["loss"] < 2.8), {"high": True}, "no loss in common"),
        (lambda t: t.take(t.variable("N") < 2e7), {}, "one size only"),
        (lambda t: replace(t, loss_unit="bits per byte"), {}, "in one unit"),
        (lambda t: t, {"fixed": {"E": 5.0}}, "at or above the loss"),
        (lambda t: t, {"shared": ("F",)}, "no parameter 'F'"),
        (lambda t: replace(t, labels={"tokenizer": ("bytes",) * 16}), {}, "other tokenizers"),
        (lambda t: replace(t, sources={"n_params": "n_params_total"}), {}, "count N otherwise"),
        (lambda t: t, {"law": find_law("data-constrained")}, "by a law of N and D"),
        (lambda t: t, {"each": "N", "law": CHINCHILLA}, "a law of one"),
        (lambda t: t, {"seconds": "clock"}, "no column 'clock'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(change, asked, words: str) -> None:
    asked = dict(asked)
    known = {"n_params": "non_embedding_params"}
    a = replace(runs(1.0), labels={"tokenizer": ("bpe",) * 16}, sources=known)
    if asked.pop("high", False):
        a = a.take(a["loss"] > 3.0)
    with pytest.raises(LoraJaxError) as caught:
        compare(a, change(runs(0.95)), **asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_uncooled_against_cooled_is_refused_and_unknown_is_named() -> None:
    cooled, uncooled = runs(1.0, cooled=[1.0] * 16), runs(0.95, cooled=[0.0] * 16)
    with pytest.raises(LoraJaxError, match=r"No run of B was cooled down"):
        compare(cooled, uncooled)
    found = compare(cooled, runs(0.95))
    assert "the table does not say whether the runs of B were cooled down" in str(found.doubts)


def test_the_best_of_several_against_single_runs_is_named_and_so_is_an_edge() -> None:
    rates = np.tile([1e-3, 2e-3, 4e-3], 16)
    tuned = make_table(
        "tuned",
        n_params=np.repeat(N, 3),
        n_tokens=np.repeat(D, 3),
        loss=np.repeat(runs(0.95)["loss"], 3) * (1 + 0.01 * rates / 1e-3),
        base_learning_rate=rates,
    )
    said = {doubt.name: doubt.words for doubt in compare(runs(1.0), tuned).doubts}
    assert "each loss of B is the best of 3 runs, and each of A the best of 1" in said["selection"]
    assert "16 of 16 cells of B" in said["rate at an edge"]


def test_seconds_stand_beside_tokens() -> None:
    """A token of B takes twice as long: in seconds half of the speed-up is left."""
    a, b = (runs(s, seconds=list(k * 1e-9 * N * D)) for s, k in ((1.0, 1.0), (0.95, 2.0)))
    for point in compare(a, b, seconds="seconds").recipes[0].points:
        assert point.seconds is not None
        if point.of == "D":
            assert point.seconds.value == pytest.approx(point.speedup.value / 2, rel=1e-6)


def test_a_curve_of_one_run_is_no_law() -> None:
    table = make_table(
        "log", n_params=[1e7] * 6, n_tokens=range(1, 7), loss=[9, 8, 7, 6, 5, 4], step=range(6)
    )
    named = replace(table, labels={"run_name": ("a",) * 6})
    with pytest.raises(LoraJaxError, match=r"uncooled"):
        make_recipe("A", named)


def test_a_results_folder_says_how_its_runs_were_trained() -> None:
    folder = Path(__file__).parents[3] / "results" / "published" / "scaling_cpu"
    recipe = make_recipe("ours", read_table(folder), folder)
    assert recipe.settings.cooled == 1
    assert recipe.settings.schedules == {"wsd"}
    assert recipe.settings.vocabularies == {"bpe:512 (0486614b)"}
    assert len(recipe.settings.texts) == 1
    assert recipe.noise.sd is not None
    assert recipe.seeds.sum() == len(recipe.runs)
