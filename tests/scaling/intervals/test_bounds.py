"""A number at a bound is marked, and printed as its bound."""

import numpy as np
import pytest

from lora_jax.documents import from_document
from lora_jax.estimate import Estimate
from lora_jax.report.fit.rows import parameter_rows
from lora_jax.report.kit.numbers import format_interval
from lora_jax.scaling.documents import fit_from_document
from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_law


def without_floor(noise: float = 0.01) -> RunTable:
    """Runs of a law whose loss falls to 0: the floor of any fit ends at its bound, or close to it."""
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
    loss = 14 * n**-0.14 + 22 * d**-0.1
    loss *= np.exp(noise * np.random.default_rng(3).standard_normal(len(n)) - 0.02 * np.log(n / 1e8) ** 2)
    return make_table("no floor", n_params=n, n_tokens=d, loss=loss)


def test_a_floor_at_its_bound_is_zero_in_every_output() -> None:
    document = fit_law(without_floor(), CHINCHILLA, Questions(n_bootstrap=200))
    number = document["params"]["E"]
    assert "E" in document["certificate"]["at_bound"]
    assert number["value"] > 0  # as the solver has it, and not what is printed
    assert number["at_bound"]["value"] == 0
    row = next(row for row in parameter_rows(fit_from_document(document)).rows if row[0] == "E")
    assert row[1] == "0, its bound"
    assert row[2] == "\u2013"
    assert "at_bound" not in document["params"]["beta"]


def test_an_interval_that_ends_at_a_bound_says_so() -> None:
    found = fit(CHINCHILLA, without_floor())
    intervals = bootstrap(found, 200).intervals()
    marks = intervals["E"].at_bound
    assert marks is not None
    assert marks.low == 0
    shown = format_interval(intervals["E"])
    assert shown[1].startswith("0 to ")
    assert "e-" not in " ".join(shown)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (
            {"value": 1.3e-4, "ci95": [1.3e-4, 1.8], "at_bound": {"value": 0.0, "low": 0.0}},
            ("0, its bound", "0 to 1.80"),
        ),
        ({"value": 0.66, "ci95": [1.4e-4, 1.8], "at_bound": {"low": 0.0}}, ("0.66", "0 to 1.80")),
        (
            {"value": 5.0, "ci95": [1.2, 5.0], "at_bound": {"value": 5.0, "high": 5.0}},
            ("5, its bound", "1.2 to 5.0"),
        ),
        ({"value": 0.01, "ci95": None, "at_bound": {"value": 0.01}}, ("0.01, its bound", "no interval")),
    ],
)
def test_marked_numbers_as_text(number: dict[str, object], text: tuple[str, str]) -> None:
    assert format_interval(from_document(Estimate, {"se": None, **number})) == text
