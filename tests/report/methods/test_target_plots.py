"""The figures and the table of target sets, and where the page has them."""

from pathlib import Path
from typing import Any

import pytest

from lora_jax.comparison.folder import write_comparison
from lora_jax.report.kit.markup import to_markup
from lora_jax.report.methods.method_panels import plot_families
from lora_jax.report.methods.page import write_method_report
from lora_jax.report.methods.target_plots import draw_target_sets, plot_budget, plot_ranks
from lora_jax.report.methods.target_rows import target_rows
from tests.report import method_folder


def lora(rank, *targets):
    return {"method": "LoRA", "rank": rank, "alpha": 8.0, "targets": list(targets), "ranks": []}


SETS = {
    "q r 8": (lora(8, "q"), 36_000, 1.6, 0.68, 1),
    "v r 8": (lora(8, "v"), 36_000, 2.0, 0.68, 1),
    "qv r 4": (lora(4, "q", "v"), 36_000, 2.6, 0.68, 1),
    "qv r 1": (lora(1, "q", "v"), 9_000, 2.5, 0.67, 1),
    "qv r 64": (lora(64, "q", "v"), 576_000, 2.6, 0.72, 2),
}


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(method_folder, "METHODS", SETS)
    return method_folder.compare(method_folder.make_records(n_test=200))


def test_the_budget_has_a_row_for_each_set_the_best_on_top(found):
    figure = plot_budget(found, found.target_sets.budget)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    by_score = sorted(("q r 8", "v r 8", "qv r 4"), key=found.ranking.index)
    assert labels == [label.split()[0] for label in by_score]
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1], "the first row is the highest"
    beside = [text.get_text() for text in figure.axes[0].texts]
    assert "rank 4, 36,000" in beside
    rows = target_rows(found)
    assert rows is not None
    assert [row[0] for row in rows.rows] == labels


def test_the_score_by_rank_is_a_line_for_each_set_at_its_own_ranks(found):
    [ax] = plot_ranks(found, found.target_sets.ranks).axes
    assert ax.get_xscale() == "log"
    [container] = ax.containers
    line: Any = container.get_children()[0]
    assert container.get_label() == "qv"
    assert list(line.get_xdata()) == pytest.approx([1, 4, 64])
    scores = {m.label: m.score.value for m in found.methods}
    assert list(line.get_ydata()) == pytest.approx([scores[f"qv r {rank}"] for rank in (1, 4, 64)])


def test_the_page_says_what_came_out_and_shows_both_figures(found, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(method_folder, "METHODS", SETS)
    folder = method_folder.write_folder(tmp_path / "sets", method_folder.make_records(n_test=200))
    page_found = write_comparison(folder)
    page = write_method_report(folder).read_text()
    assert '<section id="targets">' in page
    for name in ("score_by_targets", "score_by_rank"):
        assert (folder / "figures" / f"{name}.svg").exists()
    assert page_found.target_sets is not None
    for sentence in page_found.target_sets.sentences:
        assert to_markup(sentence.split(":")[0].split(",")[0]) in page


def test_a_comparison_of_other_methods_draws_none_of_it():
    found = method_folder.compare(method_folder.make_records(n_test=50))
    assert draw_target_sets(found) == []
    assert target_rows(found) is None


def test_many_methods_have_a_panel_for_each_family_with_every_point_at_its_place(found):
    figure = plot_families(found)
    places = {}
    for ax in figure.axes:
        title = ax.get_title(loc="left")
        marks: list[Any] = [bar.get_children()[0] for bar in ax.containers]
        xs = [float(mark.get_xdata()[0]) for mark in marks]
        assert xs == sorted(xs)
        places[title] = xs
    assert sorted(x for xs in places.values() for x in xs) == sorted(m.n_trainable for m in found.methods)
    ranks = {m.label.rpartition(" ")[2] for m in found.methods if m.label.startswith("q r ")}
    [title] = [title for title in places if title.startswith("q r ")]
    assert set(title.removeprefix("q r ").split(", ")) == ranks
