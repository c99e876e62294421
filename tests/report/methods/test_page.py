"""Page and figures of a comparison of methods: all that was found, legible, nothing from outside."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_jax.cli import main
from lora_jax.comparison.documents import comparison_to_document
from lora_jax.comparison.folder import is_finetuning, write_comparison
from lora_jax.errors import LoraJaxError
from lora_jax.report.kit.tables import make_console
from lora_jax.report.methods.page import write_method_report
from lora_jax.report.methods.plots import find_looks, plot_trade_off
from lora_jax.report.methods.terminal import print_comparison
from tests.report.method_folder import METHODS, compare, make_record, make_records, write_folder
from tests.report.sweep.test_page import assert_only_our_script, read_html

FIGURES = ("score_vs_trainable", "score_vs_rate", "learning_curves", "cost")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("methods"), make_records(150))


@pytest.fixture(scope="module")
def found(folder):
    return write_comparison(folder)


@pytest.fixture(scope="module")
def page(folder, found):
    return read_html(write_method_report(folder).read_text(encoding="utf-8"))


def test_the_page_starts_with_the_verdict_and_says_every_warning(page, found):
    text = re.sub(r"\s+", " ", page.text)
    places = [text.index(sentence) for sentence in (*found.verdict, *found.warnings)]
    assert places == sorted(places)
    assert places[0] < text.index("Every run")
    assert "<b>Not bold.</b>" in text


def test_the_tables_hold_what_the_comparison_found(page, found):
    rows = page.table("method", "accuracy", "less Full", "best rate")
    assert [row["method"] for row in rows] == list(found.ranking)
    best = next(m for m in found.methods if m.label == found.ranking[0])
    assert float(rows[0]["accuracy"]) == pytest.approx(best.score.value, abs=0.0006)
    assert next(row for row in rows if row["method"] == "Full")["verdict"] == "reference"
    runs = page.table("run", "seed", "status")
    assert len(runs) == found.n_runs == len(METHODS) * (4 + 2)
    assert sum(row["status"] == "in the score" for row in runs) == 3 * len(METHODS)
    [diverged] = [row for row in runs if row["status"] == "diverged at step 7"]
    assert diverged["test accuracy"] == "\u2013"
    assert (
        "0.003: diverged"
        in next(row for row in page.table("method", "rate: dev accuracy") if row["method"] == "AdapterH")[
            "rate: dev accuracy"
        ]
    )


def test_the_page_is_one_file_and_its_figures_are_saved(page, folder):
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    drawn = [tag for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]
    assert len(images) + len(drawn) == len(FIGURES)
    assert len(drawn) == 2, "the points of two figures say what they are"
    assert all(source.startswith("data:image/") for source in images)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe")]
    assert_only_our_script((folder / "report.html").read_text())
    saved = {path.name for path in (folder / "figures").iterdir()}
    assert saved == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}


def crowd():
    """Return a comparison of 24 methods of near-equal score and size: more than a figure can hold easily."""
    compared = compare(make_records(60))
    method = compared.methods[0]
    methods = [
        replace(
            method,
            label=f"Method {i}",
            n_trainable=10_000 + 1_500 * i,
            config={"method": f"M{i % 12}"},
            score=replace(method.finished_score, value=0.8 + 0.003 * (i % 5), ci95=(0.78, 0.83)),
        )
        for i in range(24)
    ]
    return replace(compared, methods=tuple(methods))


@pytest.mark.parametrize("crowded", [False, True])
def test_names_lie_on_no_other_name_and_no_point(found, crowded):
    compared = crowd() if crowded else found
    figure = plot_trade_off(compared)
    [ax] = figure.axes
    figure.draw_without_rendering()
    labels = {m.label: m for m in compared.methods}
    boxes = {t.get_text(): t.get_window_extent() for t in ax.texts}
    assert boxes.keys() == labels.keys()
    points = {
        label: ax.transData.transform((m.n_trainable, m.finished_score.value)) for label, m in labels.items()
    }
    frame = ax.get_window_extent()
    for label, box in boxes.items():
        assert not [other for other, there in boxes.items() if other != label and box.overlaps(there)]
        assert not [other for other, point in points.items() if box.contains(*point)]
        assert frame.contains(box.x0, box.y0)
        assert frame.contains(box.x1, box.y1)


def test_sizes_of_one_method_are_joined_and_other_settings_are_not():
    records = make_records()
    for record in records:  # another place for its weights, as many of them: no member of the line of ranks
        tuning = record["finetuning"]
        if tuning["label"] == "LoRA r 4":
            tuning["method"] = tuning["method"] | {"targets": ["q"]}
    compared = compare(records)
    [ax] = plot_trade_off(compared).axes
    sizes = {m.label: m.n_trainable for m in compared.methods}
    joined = [np.sort(line.get_xdata()).tolist() for line in ax.lines if line.get_linewidth() == 1.3]
    assert sorted(joined) == sorted(
        [
            [sizes["LoRA r 1"], sizes["LoRA r 16"]],
            [sizes["Top-1"], sizes["Top-2"]],
        ]
    )


def test_looks_tell_all_methods_apart(found):
    looks = find_looks(crowd().methods)
    assert len({(colour, marker) for colour, marker, _ in looks.values()}) == 24
    assert len({look for look in find_looks(found.methods).values()}) == len(METHODS)


def test_the_terminal_says_the_verdict_first(found):
    console = make_console()
    with console.capture() as capture:
        print_comparison(found, console)
    lines = capture.get().splitlines()
    assert lines[0] == found.verdict[0]
    assert all(f"warning: {line}" in lines for line in found.warnings)


def test_the_commands_notice_a_fine_tuning_folder(tmp_path, capsys):
    records = make_records(40)[:12]
    write_folder(tmp_path, records)
    assert main(["report", str(tmp_path)]) != 0
    assert "comparison.json is missing: run `lora-jax fit` first" in capsys.readouterr().err
    assert main(["fit", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    made = json.loads((tmp_path / "comparison.json").read_text())
    del made["digest"]
    assert said.splitlines()[0] == made["verdict"][0]
    assert made == json.loads(json.dumps(comparison_to_document(compare(records))))
    (tmp_path / "runs" / f"{records[-1]['run_id']}.json").unlink()
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert "was made from 12 runs and runs/ has 11" in (tmp_path / "report.html").read_text()
    assert main(["fit", str(tmp_path), "--where", "seed=0"]) != 0
    assert "--where does not apply" in capsys.readouterr().err


def test_a_comparison_of_laws_is_none_of_methods(tmp_path):
    (tmp_path / "comparison.json").write_text('{"rows": []}')
    assert not is_finetuning(tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(LoraJaxError, match="is of the kind None"):
        write_method_report(tmp_path)


def test_a_sweep_that_diverged_whole_has_a_page_too(tmp_path):
    write_folder(tmp_path, [make_record("Full", rate, 0, [], 0.0) for rate in (1e-3, 3e-3)])
    found = write_comparison(tmp_path)
    assert found.verdict == ("No method finished a run: every one diverged.",)
    page = read_html(write_method_report(tmp_path).read_text(encoding="utf-8"))
    assert "No score to draw" in page.text
