"""speedup.json is read as it was written: infinite numbers, and those that do not exist, told apart."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.estimate import Estimate
from lora_jax.files import to_json
from lora_jax.scaling.speedups.documents import NAME, read_speedup, to_speedup_document
from lora_jax.scaling.speedups.results import (
    FORMAT,
    KIND,
    CurveReport,
    CurveSpeedup,
    Doubt,
    Point,
    RecipeFit,
    RecipeSpeedup,
    SpeedupReport,
)

UNKNOWN = Estimate(math.nan, None, None)
ENDLESS = Estimate(math.inf, None, (2.0, math.inf))


def make_report(*speedups: Estimate) -> SpeedupReport:
    fit = RecipeFit("muon", "", 9, {"E": Estimate(1.7, 0.1, (1.5, 1.9))}, 5, 0.003, None, None, None)
    points = tuple(
        Point(
            "C",
            {"C": 1e12, "a/b~c": s.value},
            3.0,
            1e12 * s.value,
            s,
            s,
            s.value,
            (math.inf, 1.0),
            measured=False,
        )
        for s in speedups
    )
    doubts = (Doubt("floor", "it moves"),)
    return SpeedupReport(
        "runs.csv",
        "lora-jax speedup runs.csv --by optimizer",
        "adamw",
        "L = E",
        "nats",
        ("E",),
        {},
        0.02,
        (fit,),
        (RecipeSpeedup("muon", 9, (fit,), points),),
        doubts,
        ("a note",),
        KIND,
        FORMAT,
    )


def write(folder: Path, document: dict[str, Any]) -> None:
    (folder / NAME).write_text(to_json(document))


def test_a_report_of_laws_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = make_report(ENDLESS, Estimate(1.2, 0.1, (1.0, 1.5)), UNKNOWN)
    write(tmp_path, to_speedup_document(report))
    assert "Infinity" not in (tmp_path / NAME).read_text()
    found = read_speedup(tmp_path)
    assert repr(found) == repr(report)  # nan is not equal to itself
    assert isinstance(found, SpeedupReport)
    first, _, last = found.recipes[0].points
    assert first.speedup == ENDLESS
    assert math.isinf(first.beyond)
    assert math.isnan(last.speedup.value)
    assert math.isnan(last.beyond)


def test_a_report_of_curves_is_read_as_it_was_written(tmp_path: Path) -> None:
    curve = CurveSpeedup("muon", 100.0, 3.0, None, 80.0, None, Estimate(1.2, None, None), None, None)
    report = CurveReport(
        "runs.csv",
        "lora-jax speedup --curves",
        "adamw",
        3.1,
        "nats",
        None,
        "step",
        (curve,),
        (),
        (),
        "speedup of curves",
        FORMAT,
    )
    write(tmp_path, to_speedup_document(report))
    assert read_speedup(tmp_path) == report


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "does not say which numbers are infinite"),
        ({"format": FORMAT + 1}, "update lora_jax"),
        ({"kind": "transfer"}, "'transfer'"),
        ({"infinite": ["/recipes/0/points/7"]}, "has nothing at"),
        ({"infinite": [""]}, "has nothing at"),
        ({"infinite": [["recipes"]]}, "has nothing at"),
        ({"infinite": ["/floor_step"]}, "has a number at"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    write(tmp_path, to_speedup_document(make_report(ENDLESS)) | change)
    with pytest.raises(LoraJaxError, match=words):
        read_speedup(tmp_path)


def test_the_document_holds_every_field_of_the_report(tmp_path: Path) -> None:
    write(tmp_path, to_speedup_document(make_report(ENDLESS)))
    document = json.loads((tmp_path / NAME).read_text())
    assert set(document) == {field.name for field in dataclasses.fields(SpeedupReport)} | {"infinite"}
