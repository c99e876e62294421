"""The page of a sweep of more runs than a page can show."""

from pathlib import Path

import pytest

from lora_jax.report.sweep.figures import draw_figures
from lora_jax.report.sweep.results import read_results
from tests.report.sweep.test_page import words_of


def test_a_page_of_very_many_runs_says_what_it_leaves_out_and_where_it_is(
    synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_jax.report.sweep.rows.MOST_RUNS", 20)
    monkeypatch.setattr("lora_jax.report.sweep.results.MOST_CURVES", 9)
    monkeypatch.setattr("lora_jax.report.sweep.figures.MOST_CURVES", 9)
    monkeypatch.setattr("lora_jax.report.sweep.figures.MOST_OTHERS", 4)
    results = read_results(synthetic)
    n = len(results.runs)
    page = words_of(synthetic)
    rows = page.table("run", "in the fits")
    assert len(rows) == 20
    assert {row["in the fits"] for row in rows} == {"fitted"}, "there are more than 20 of them"
    assert f"20 of {n} runs are shown; runs.csv has all." in page.text
    assert page.text.count("diverged"), "in the provenance and the doubts, which are of all runs"
    assert len(results.curves) == 9
    drawings = {drawing.name: drawing for drawing in draw_figures(results)}
    assert f"9 of {n} runs are shown; curves/ has all." in drawings["training_curves"].caption
    for name in ("loss_vs_N", "loss_vs_D", "loss_vs_C"):
        assert "4 of " in drawings[name].caption
        assert "runs.csv has all." in drawings[name].caption
