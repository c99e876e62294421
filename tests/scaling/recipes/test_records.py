"""The recipes of a results folder, by its records."""

from pathlib import Path

import pytest

from lora_jax.scaling.recipes.records import doubt_recipes, recorded_runs, split_by
from lora_jax.scaling.tables.table import read_table

PUBLISHED = Path(__file__).parents[3] / "results" / "published"


@pytest.mark.committed
@pytest.mark.parametrize("name", ["scaling_cpu", "learning_rate"])
def test_sweeps_of_one_recipe_are_not_doubted(name: str) -> None:
    table = read_table(PUBLISHED / name)
    assert doubt_recipes(table, recorded_runs(PUBLISHED / name)).doubts == table.doubts
    assert doubt_recipes(table, recorded_runs(PUBLISHED / name / "runs.csv")).doubts == table.doubts


@pytest.mark.committed
def test_a_study_of_parametrisations_is_split_by_them_and_one_law_for_all_is_doubted() -> None:
    folder = PUBLISHED / "transfer"
    table = read_table(folder)
    [line] = set(doubt_recipes(table, recorded_runs(folder)).doubts) - set(table.doubts)
    assert line.startswith("the runs come from 4 recipes (standard; completep; mup; plain)")
    for name in ("recipe", "parametrisation", "model.parametrisation"):
        parts = dict(split_by(table, recorded_runs(folder), name))
        assert set(parts) == {"standard", "completep", "mup", "plain"}
        assert sorted(i for part in parts.values() for i in part.run_ids) == sorted(table.run_ids)
    assert split_by(table, recorded_runs(folder), "nothing") == []


def test_of_a_table_without_records_nothing_is_known(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("n_params,n_tokens,loss\n1e6,1e8,3.0\n2e6,1e8,2.9\n")
    table = read_table(path)
    assert doubt_recipes(table, recorded_runs(path)) is table
    assert split_by(table, recorded_runs(path), "recipe") == []
