"""A fit on the terminal: the first line says whether to believe it, and nothing is lost below."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lora_jax.report.fit import rows as fit_rows
from lora_jax.report.fit.conclusions import doubts, verdict_line
from lora_jax.report.fit.terminal import MOST_LAWS, print_fit
from lora_jax.scaling.documents import fit_from_document
from tests.report.lab_document import some_document

ROOT = Path(__file__).parents[3]

WIDE = ("formula", "verdict")  # columns of the comparison


def printed(document, **options) -> str:
    out = io.StringIO()
    print_fit(fit_from_document(document), Console(file=out, highlight=False, **{"width": 150, **options}))
    return out.getvalue()


def doubtful(*warnings: str, **certificate) -> dict[Any, Any]:
    document = some_document()
    document["certificate"] |= {"warnings": list(warnings), **certificate}
    document["certificate"]["verdict"] = f"be careful: {'; '.join(warnings)}" if warnings else "believe it"
    return document


def test_the_first_line_is_the_verdict():
    assert printed(doubtful()).startswith("believe it: a = 0.5")
    assert printed(doubtful("weakly identified: B")).startswith("be careful: weakly identified: B\n")
    text = printed(doubtful("weakly identified: B", "not converged: gradient 1e-3", converged=False))
    assert text.startswith("do not believe it: not converged: gradient 1e-3; weakly identified: B\n")
    assert printed(doubtful(converged=False)).startswith("do not believe it: not converged\n")


def test_no_doubtful_fit_is_believed_and_no_reason_is_lost():
    reasons = [f"reason {i}, which takes a good many words to be told in full" for i in range(7)]
    for n in range(1, 8):
        document = doubtful(*reasons[:n])
        first, *rest = printed(document).splitlines()
        assert not first.startswith("believe")
        assert reasons[0] in first
        assert len(first) < 220
        shown = sum(reason in first for reason in reasons)
        assert (f"and {n - shown} more" in first) == (shown < n)
        words = " ".join(rest)
        assert all(reason[1:] in words for reason in reasons[:n])


def test_the_verdict_stays_one_line_in_a_pipe():
    document = doubtful("without run " + "x" * 200 + " a moves")
    assert printed(document, width=60).splitlines()[0] == verdict_line(fit_from_document(document))


def test_it_is_calm_and_whole():
    document = some_document()
    text = printed(document)
    lines = text.splitlines()
    assert len(lines) <= 60  # of which the comparison of all laws takes a third
    assert "\x1b" not in text
    report = fit_from_document(document)
    best = fit_rows.comparison_rows(report.comparison, report.law, MOST_LAWS)
    for table in (fit_rows.parameter_rows(report), fit_rows.prediction_rows(report), best):
        assert table is not None
        for row in table.rows:
            # the formula is in the page only, and a verdict may go over lines
            cells = [cell for cell, name in zip(row, table.columns, strict=True) if name not in WIDE]
            assert any(all(cell in line for cell in cells) for line in lines), row
    words, said = document["differences"][0]["words"], " ".join(text.split())
    assert words in said
    assert said.index(words) < said.index("rolling origin")


def test_many_predictions_and_doubts_are_counted():
    document = doubtful(*(f"doubt number {i}" for i in range(20)))
    document["predictions"] = 5 * document["predictions"][:4]
    text = printed(document)
    assert "12 more are in the page" in text
    assert f"{len(doubts(fit_from_document(document))) - 8} more are in the page" in text
    assert len(text.splitlines()) < 75


def test_parameters_say_what_is_wrong_with_them():
    document = some_document()
    document["certificate"] |= {"at_bound": ["alpha"], "weakly_identified": ["B", "alpha"]}
    document["profiles"]["B"]["ci95"][1] = None
    document["params"]["E"] |= {"fixed": True, "se": None, "ci95": None}
    table = fit_rows.parameter_rows(fit_from_document(document))
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["alpha"]["remark"] == "at a bound, weakly identified"
    assert rows["B"]["remark"] == "weakly identified"
    assert rows["B"]["by profile"].startswith("above ")
    assert rows["E"]["remark"] == "fixed"
    assert rows["E"]["95 % interval"] == "\u2013"
    assert {table.rows[i][0] for i in table.flagged} == {"alpha", "B"}


def test_predictions_far_beyond_the_table_are_marked():
    document = some_document()
    document["predictions"] = document["predictions"][:4]
    for prediction, beyond in zip(document["predictions"], (None, 0.5, 9.0, 96.0), strict=True):
        prediction["beyond"] = beyond
    table = fit_rows.prediction_rows(fit_from_document(document))
    assert table is not None
    assert table.flagged == {3}
    assert [row[-1] for row in table.rows] == [
        "",
        "",
        "9 times its largest 6 N D",
        "96 times its largest 6 N D",
    ]


def test_markup_is_printed_as_it_is_and_a_terminal_gets_colour():
    document = doubtful("[red]not red[/red]")
    document["formula"] = "[bold]L[/bold]"
    text = printed(document)
    assert "[red]not red[/red]" in text
    assert "[bold]L[/bold]" in text
    assert "\x1b[" in printed(document, force_terminal=True)


@pytest.mark.parametrize(
    "missing", ["derived", "predictions", "differences", "comparison", "profiles", "notes"]
)
def test_what_is_absent_leaves_no_gap(missing):
    document = some_document()
    document[missing] = None if missing == "comparison" else type(document[missing])()
    text = printed(document)
    assert "None" not in text
    assert "\n\n\n" not in text


def test_it_prints_without_matplotlib_scipy_or_jax(tmp_path):
    (tmp_path / "fit.json").write_text(json.dumps(some_document()))
    code = (
        "import sys, json; from lora_jax.report.fit.terminal import MOST_LAWS, print_fit;"
        "from lora_jax.scaling.documents import fit_from_document;"
        f"print_fit(fit_from_document(json.load(open({str(tmp_path / 'fit.json')!r}))));"
        "bad = {'matplotlib', 'jax', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "alpha" in done.stdout
