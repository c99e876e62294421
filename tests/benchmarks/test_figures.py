"""Figures: median, quartiles, goals, and the JSON that a later run compares with."""

import json

import numpy as np
import pytest

from benchmarks.figures import FORMAT, Figure, Provenance, Row, Section, to_json
from benchmarks.table import format_goal, format_number, make_table

SAMPLES = (3.0, 1.0, 2.0, 10.0, 4.0)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_spread_is_numpys(n: int) -> None:
    figure = Figure("step", "ms", SAMPLES[:n])
    assert figure.median == np.median(SAMPLES[:n])
    np.testing.assert_allclose(figure.quartiles, np.percentile(SAMPLES[:n], [25, 75]))


def test_a_goal_is_kept_by_the_median() -> None:
    assert Figure("ratio", "ratio", SAMPLES, at_most=3.0).kept is True
    assert Figure("ratio", "ratio", SAMPLES, at_most=2.9).kept is False
    assert Figure("ratio", "ratio", SAMPLES, at_least=3.0).kept is True
    assert Figure("ratio", "ratio", SAMPLES, at_least=3.1).kept is False
    assert Figure("ratio", "ratio", SAMPLES, at_most=9.0, at_least=3.1).kept is False
    assert Figure("ratio", "ratio", SAMPLES).kept is None


def test_a_goal_is_told_with_its_side() -> None:
    figure = Figure("ours / theirs", "ratio", SAMPLES, at_least=3.1, better="more")
    assert format_goal(figure) == "ours / theirs at least 3.1: NOT KEPT"
    assert format_goal(Figure("time", "s", SAMPLES, 5.0, 1.0)) == "time at most 5 s and at least 1 s: kept"


def make_section() -> Section:
    good = Row(
        "good", {"d_model": 8}, (Figure("time", "s", SAMPLES, 5.0), Figure("step / floor", "ratio", SAMPLES))
    )
    bad = Row("bad", {"d_model": 9}, (Figure("time", "s", (7.0,), 5.0),))
    return Section("demo", "A demonstration", (good, bad), note="said below")


def test_the_json_holds_every_repetition_and_where_it_was() -> None:
    provenance = Provenance("./launch.sh bench", "cpu: 2 cores", {"jax": "1"}, None, 0.1, 0.0)
    document = json.loads(json.dumps(to_json(provenance, [make_section()])))
    assert document.keys() == {
        "format",
        "command",
        "device",
        "versions",
        "git_commit",
        "load_average",
        "others",
        "created_at",
        "sections",
    }
    assert document["format"] == FORMAT
    (section,) = document["sections"]
    assert section.keys() == {"name", "title", "note", "rows"}
    figure = section["rows"][0]["figures"][0]
    assert figure == {
        "name": "time",
        "unit": "s",
        "median": 3.0,
        "quartiles": [2.0, 4.0],
        "at_most": 5.0,
        "at_least": None,
        "better": None,
        "kept": True,
        "samples": list(SAMPLES),
    }
    assert section["rows"][1]["settings"] == {"d_model": 9}


def test_the_table_marks_what_is_not_kept() -> None:
    table = make_table(make_section())
    assert table.columns == ("", "time, s", "step / floor", "goal")
    assert table.rows[0] == (
        "good",
        "3.00 (2.00\u20134.00)",
        "3.00 (2.00\u20134.00)",
        "time at most 5 s: kept",
    )
    assert table.rows[1] == ("bad", "7.00", "\u2013", "time at most 5 s: NOT KEPT")
    assert table.flagged == {1}


@pytest.mark.parametrize(
    ("x", "text"),
    [(12345.6, "12,346"), (100.4, "100"), (99.96, "100"), (34.12, "34.1"), (0.0123456, "0.0123")],
)
def test_numbers_have_three_digits(x: float, text: str) -> None:
    assert format_number(x) == text
