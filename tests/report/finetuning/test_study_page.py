"""The page of a study: it says what the report says, whatever a label holds, and can be read back."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lora_jax.report.finetuning.conclusions import headline, say_crossovers, say_winner, summarise
from lora_jax.report.finetuning.page import write_study_page
from lora_jax.report.finetuning.terminal import print_study
from lora_jax.scaling.finetuning.study_results import StudyReport, read_study_report, write_study
from tests.report.finetuning.made_up_report import NASTY, law_at, make_laws, make_report


@pytest.fixture(scope="module")
def report() -> StudyReport:
    return make_report()


@pytest.fixture(scope="module")
def page(report: StudyReport, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_study_page(report, tmp_path_factory.mktemp("study")).read_text()


def test_the_verdict_comes_first(report: StudyReport, page: str) -> None:
    shown = re.sub(r"<[^>]+>", "", page[page.index('<section id="verdict">') :])
    assert headline(report).replace("<", "&lt;").replace(">", "&gt;") in shown
    assert page.index('id="verdict"') < page.index('id="figures"') < page.index('id="task0"')


def test_the_winner_is_the_one_with_the_least_losses() -> None:
    laws = make_laws()
    places = [(n, f) for n in (1e4, 1e5) for f in (4032.0, 16128.0, 64512.0)]
    losses = {
        m.name: [law_at(n, f, *e) for n, f in places]
        for m, e in zip(laws.methods, ((0.1, 0.2), (0.12, 0.15), (0.1, 0.1)), strict=True)
    }
    wins = [min(losses, key=lambda name: losses[name][i]) for i in range(6)]
    first = max(set(wins), key=wins.count)
    assert say_winner(laws).startswith(f"{first} has the lowest loss at")


def test_what_crosses_is_said_with_its_interval() -> None:
    lines = say_crossovers(make_laws())
    assert "better above F = 8k (2.67k to no upper end, identified)" in lines[0]
    assert "at N 100k full is better at every F of the runs" in lines[0]
    assert "left out of comparisons" in lines[1]


def test_a_label_is_text_everywhere(page: str) -> None:
    assert "<b>r 4</b>" not in page
    assert NASTY.split("$")[0].replace("<", "&lt;").replace(">", "&gt;") in page


def test_every_part_is_on_the_page(page: str) -> None:
    for words in (
        "Crossovers",
        "Forms of the law",
        "Capacity",
        "What a method needs",
        "Learning and forgetting",
        "The claims of LoRA Without Regret",
        "Show 1 runs that are not fitted",
        "few seeds",
        "one D.",
    ):
        assert words in page, words
    assert page.count("<svg") == 3


def test_the_file_can_be_read_back(report: StudyReport, tmp_path: Path) -> None:
    write_study(tmp_path, report)
    assert read_study_report(tmp_path) == report


def test_a_task_without_laws_is_said(report: StudyReport, capsys: pytest.CaptureFixture[str]) -> None:
    bare = report.tasks[1]
    assert summarise(bare) == ["No law finetuning-n: one size."]
    print_study(replace(report, tasks=(bare,)))
    assert "one size." in capsys.readouterr().out
