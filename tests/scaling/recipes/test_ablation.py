"""Recipes: how runs are sorted into them, and that the one whose runs follow the law is found."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.files import load_json, to_json
from lora_jax.scaling.rates.grids import RateRun
from lora_jax.scaling.recipes.ablation import choose_law, compare_recipes, loss_at
from lora_jax.scaling.recipes.documents import read_ablation, write_ablation
from lora_jax.scaling.recipes.results import AblationReport, RecipeFit
from lora_jax.scaling.recipes.sorting import doubt_mixture, sort_recipes
from lora_jax.scaling.tables.cells import seed_noise
from lora_jax.scaling.tables.table import RunTable, make_table

WIDTHS, TOKENS, NOISE = (16, 32, 64, 128, 256), (1e6, 2e6, 4e6, 8e6, 16e6), 0.004


def law(n: float, d: float) -> float:
    return 2.0 + (3e4 / n) ** 0.4 + (4e5 / d) ** 0.5


def make_runs(seed: int = 0, bend: float = 0.08) -> list[RateRun]:
    """Return the runs of two recipes. Those of the second lie off the law at the least D, by `bend`."""
    rng = np.random.default_rng(seed)
    runs = []
    for number in range(2):
        for i, width in enumerate(WIDTHS):
            for j, tokens in enumerate(TOKENS):
                for k in range(3 if i == j else 1):
                    off = bend if number and j == 0 else 0.0
                    loss = law(12.0 * width**2, tokens) * math.exp(off * (1 - i / 2) + NOISE * rng.normal())
                    runs.append(
                        RateRun(
                            f"{number}-{width}-{tokens:g}-{k}",
                            1e-2,
                            loss,
                            False,
                            {"width": width, "depth": 2.0, "batch": 8.0, "tokens": tokens},
                            {
                                "optim.optimizer.kind": ("default", "muon")[number],
                                "model.n_heads": f"{width // 8}",
                            },
                            k,
                            12.0 * width**2,
                        )
                    )
    return runs


def table_of(runs: list[RateRun]) -> RunTable:
    return make_table(
        "made up",
        [run.name for run in runs],
        n_params=[run.n_params or 0 for run in runs],
        n_tokens=[run.sizes["tokens"] for run in runs],
        loss=[run.loss or 0 for run in runs],
        seed=[run.seed for run in runs],
        base_learning_rate=[run.rate for run in runs],
    )


def compare(runs: list[RateRun], **options) -> AblationReport:
    return compare_recipes(table_of(runs), runs, n_bootstrap=200, **options)


@cache
def compare_all() -> AblationReport:
    """Return the comparison of all runs, which several tests read."""
    return compare(make_runs())


def by_label(report: AblationReport) -> dict[str, RecipeFit]:
    return {recipe.label: recipe for recipe in report.recipes}


def test_intervals_of_the_loss_cover_as_often_as_they_say() -> None:
    """200 sweeps of two recipes: 380 expected, with a standard error of 4.4."""
    held = 0
    for seed in range(200):
        runs = make_runs(seed, bend=0.0)
        table = table_of(runs)
        for number in ("0", "1"):
            part = table.take([i for i, name in enumerate(table.run_ids) if name[0] == number])
            cell = (12.0 * WIDTHS[-1] ** 2, TOKENS[-1])
            found = loss_at(part, cell, seed_noise(part))
            held += found.low < law(*cell) < found.high
    assert 364 <= held <= 394


def test_the_base_has_the_most_runs_and_the_others_say_what_they_change() -> None:
    base = {"optim.lr_size_exponent": "0", "model.parametrisation": "mup", "model.base_width": "32"}
    plain = {"optim.lr_size_exponent": "0"}
    changed = [
        base,
        plain,
        plain | {"optim.lr_size_exponent": "0.5"},
        base | {"optim.optimizer.kind": "muon"},
        base | {"optim.base_tokens": "1000"},
        base | {"optim.base_tokens": "2000", "optim.eps": "1e-8"},
    ]
    one = make_runs()[0]
    runs = [
        replace(one, name=f"{i}-{width}", settings=settings, sizes={**one.sizes, "width": float(width)})
        for i, settings in enumerate(changed)
        for width in range(4 if i == 0 else 3)
    ]
    assert [recipe.label for recipe in sort_recipes(runs, "x")] == [
        "adamw, mup",
        "base_tokens 1000",
        "base_tokens 2000",
        "muon",
        "standard",
        "standard, lr_size_exponent 0.5",
    ]


def test_runs_are_sorted_by_every_setting_but_those_of_the_size() -> None:
    found = sort_recipes(make_runs(), "x")
    assert [recipe.label for recipe in found] == ["adamw", "muon"]
    assert found[0].settings == {"optim.optimizer.kind": "default"}
    assert {len(recipe.run_ids) for recipe in found} == {35}


def test_one_law_for_several_recipes_is_doubted_and_one_for_several_data_is_not() -> None:
    runs = make_runs()
    assert doubt_mixture([run for run in runs if run.name[0] == "0"]) is None
    said = doubt_mixture(runs) or ""
    assert said.startswith("the runs come from 2 recipes (adamw; muon), and one law for all of them")
    data = [replace(run, settings={"data.max_epochs": run.name[0]}) for run in runs]
    assert doubt_mixture(data) is None


def test_a_batch_makes_a_recipe_and_a_rate_does_not() -> None:
    runs = [run for run in make_runs() if run.name[0] == "0"]
    twice = [replace(run, name=f"b{run.name}", sizes={**run.sizes, "batch": 16.0}) for run in runs]
    assert [r.label for r in sort_recipes([*runs, *twice], "x")] == ["base", "batch_size 8"]
    faster = [replace(run, name=f"r{run.name}", rate=2e-2) for run in runs]
    with pytest.raises(LoraJaxError, match=r"x has one recipe, for its runs differ in size, length, rate"):
        sort_recipes([*runs, *faster], "x")


def test_the_recipe_whose_short_runs_miss_the_law_is_named_and_the_range_on_which_they_do_not() -> None:
    found = by_label(compare_all())
    good, bad = found["adamw"], found["muon"]
    assert good.misfit is not None
    assert bad.misfit is not None
    assert good.misfit.warning is None
    assert "lack of fit" in (bad.misfit.warning or "")
    assert good.verdict is not None
    assert good.verdict.is_believed
    assert bad.verdict is not None
    assert not bad.verdict.is_believed
    by_tokens = [cut for cut in bad.cuts if cut.cut == "tokens"]
    assert [cut.least for cut in by_tokens] == [1e6, 2e6, 4e6]
    assert by_tokens[1].misfit.warning is None
    assert by_tokens[1].misfit.off.value < by_tokens[0].misfit.off.value / 2


def test_the_report_comes_back_from_its_file(tmp_path: Path) -> None:
    report = compare_all()
    write_ablation(tmp_path, report)
    assert read_ablation(tmp_path) == report
    document = load_json(tmp_path / "ablation.json")
    document.pop("digest")
    document["recipes"][0]["verdict"]["level"] = "maybe"
    (tmp_path / "ablation.json").write_text(to_json(document))
    with pytest.raises(LoraJaxError, match=r"level' is 'maybe', but it must be 'believe it' or 'be careful'"):
        read_ablation(tmp_path)


def test_what_is_said_does_not_depend_on_the_order_of_the_runs() -> None:
    one, other = by_label(compare_all()), by_label(compare(make_runs()[::-1]))
    for label, recipe in one.items():
        again = other[label]
        assert recipe.misfit is not None
        assert again.misfit is not None
        assert recipe.misfit.off.value == pytest.approx(again.misfit.off.value, rel=1e-6)
        assert recipe.largest is not None
        assert again.largest is not None
        assert recipe.largest.value == pytest.approx(again.largest.value, rel=1e-12)


def test_the_loss_is_that_of_the_largest_cell_that_all_have() -> None:
    runs = [run for run in make_runs(bend=0.0) if not (run.name[0] == "1" and run.sizes["width"] == 256)]
    report, cell = compare(runs), (12.0 * 128**2, 16e6)
    assert report.largest_cell == cell
    for recipe in report.recipes:
        assert recipe.largest is not None
        assert recipe.largest.value == pytest.approx(law(*cell), rel=4 * NOISE)


@pytest.mark.slow  # two comparisons
def test_of_several_rates_the_best_is_kept_and_counted() -> None:
    runs = make_runs(bend=0.0)
    worse = [replace(run, name=f"w{run.name}", rate=5e-2, loss=1.3 * (run.loss or 0)) for run in runs]
    mixed = compare([*runs, *worse])
    assert {recipe.n_rates for recipe in mixed.recipes} == {2}
    for recipe, alone in zip(mixed.recipes, compare(runs).recipes, strict=True):
        assert recipe.n_runs == 2 * alone.n_runs
        assert recipe.largest is not None
        assert alone.largest is not None
        assert recipe.largest.value == alone.largest.value


def test_a_recipe_with_too_few_runs_has_no_fit_and_a_reason() -> None:
    runs = [run for run in make_runs() if run.name[0] == "0" or run.sizes["width"] < 64]
    poor = by_label(compare(runs))["muon"]
    assert poor.misfit is None
    assert poor.verdict is None
    assert poor.missing == "2 sizes and 5 token counts, a law of both needs 3 of each"
    few = [run for run in make_runs() if run.name[0] == "0" or _is_small(run)]
    assert by_label(compare(few))["muon"].missing == "7 cells, 5 parameters need 8"


def _is_small(run: RateRun) -> bool:
    width, tokens = WIDTHS.index(int(run.sizes["width"])), TOKENS.index(run.sizes["tokens"])
    return width < 3 and tokens < 3 and (width + tokens < 3 or (width, tokens) == (1, 2))


def test_without_seeds_there_is_a_misfit_and_no_ratio() -> None:
    runs = [run for run in make_runs() if run.seed == 0]
    for recipe in compare(runs).recipes:
        assert recipe.misfit is not None
        assert recipe.misfit.times is None
        assert recipe.largest is not None
        assert recipe.largest.ci95 is None


@pytest.mark.parametrize("name", ["power-n", "nothing", ""])
def test_a_law_that_is_not_of_n_and_d_is_refused(name: str) -> None:
    with pytest.raises(LoraJaxError, match=r"must be a law of N and D: give one of .*chinchilla"):
        choose_law(name)
