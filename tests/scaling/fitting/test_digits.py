"""Printed parameters are judged by what their digits can say."""

from collections.abc import Callable, Mapping

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.fitting.digits import half_unit
from lora_jax.scaling.fitting.fit import Fit, evaluate_given, fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.table import RunTable

HOFFMANN = {"E": "1.69", "A": "406.4", "alpha": ".34", "B": "410.7", "beta": ".28"}


def _judge(table: RunTable, printed: Mapping[str, str], objective: str = "huber") -> Fit:
    params = {name: float(text) for name, text in printed.items()}
    halves = {name: half_unit(text) for name, text in printed.items()}
    return evaluate_given(CHINCHILLA, table, params, objective=objective, halves=halves)


@pytest.mark.parametrize(
    ("text", "half"),
    [
        ("1.8172", 5e-5),
        ("1.81720", 5e-6),
        (".34", 5e-3),
        ("2143", 0.5),
        ("6.40e13", 5e10),
        ("70B", 5e8),
        ("1,234.5", 0.05),
        ("-0.021", 5e-4),
    ],
)
def test_half_a_unit_in_the_last_digit(text: str, half: float) -> None:
    assert half_unit(text) == pytest.approx(half)


def test_what_has_no_digits_is_refused() -> None:
    with pytest.raises(LoraJaxError, match="'nan' is not a decimal number"):
        half_unit("nan")


@pytest.mark.parametrize("objective", ["huber", "l1", "squared", "least-squares"])
@pytest.mark.parametrize("digits", [3, 5, 7, 10, 14])
def test_a_minimum_is_one_to_any_number_of_digits(
    sweep: Callable[..., RunTable], objective: str, digits: int
) -> None:
    table = sweep(6, 5, noise=0.01)
    printed = {k: f"{v:.{digits - 1}e}" for k, v in fit(CHINCHILLA, table, objective).params.items()}
    assert _judge(table, printed, objective).certificate.converged


@pytest.mark.parametrize("digits", [6, 8, 10])
def test_what_its_digits_do_not_explain_is_no_minimum(sweep: Callable[..., RunTable], digits: int) -> None:
    """Thirty units off in the last digit of one parameter, the others as they were printed."""
    table = sweep(6, 5, noise=0.01)
    printed = {k: f"{v:.{digits - 1}e}" for k, v in fit(CHINCHILLA, table).params.items()}
    off = {**printed, "E": f"{float(printed['E']) + 60 * half_unit(printed['E']):.{digits - 1}e}"}
    assert not _judge(table, off).certificate.converged


def test_floats_carry_the_digits_that_python_prints(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5, noise=0.01)
    params = fit(CHINCHILLA, table).params
    assert evaluate_given(
        CHINCHILLA, table, {k: float(f"{v:.10g}") for k, v in params.items()}
    ).certificate.converged
    nearly = {**params, "E": params["E"] * (1 + 1e-5)}  # all digits of it: not rounded
    assert not evaluate_given(CHINCHILLA, table, nearly).certificate.converged


def test_few_digits_excuse_no_other_answer(sweep: Callable[..., RunTable]) -> None:
    certificate = _judge(sweep(6, 5), HOFFMANN).certificate
    assert not certificate.converged
    assert "above the minimum" in certificate.verdict.words


def test_digits_too_few_to_use_are_told_from_no_minimum(sweep: Callable[..., RunTable]) -> None:
    table = sweep(6, 5, noise=0.001)
    printed = {k: f"{v:.0e}" for k, v in fit(CHINCHILLA, table).params.items()}
    certificate = _judge(table, printed).certificate
    assert certificate.converged
    assert "rounded too far" in certificate.verdict.words


def test_published_answers_keep_their_verdicts(chinchilla_240: RunTable) -> None:
    """Besiroglu et al. 2404.10102 as they print it, the Huber answer of the source, and Hoffmann's."""
    ours = {"A": "477.84", "B": "2143.86", "E": "1.81724", "alpha": ".34731", "beta": ".36718"}
    theirs = {"A": "482.01", "B": "2085.43", "E": "1.8169", "alpha": ".34781", "beta": ".36585"}
    assert _judge(chinchilla_240, ours).certificate.converged
    assert _judge(chinchilla_240, theirs, "l1").certificate.converged
    assert not _judge(chinchilla_240, theirs, "huber").certificate.converged
    assert not _judge(chinchilla_240, HOFFMANN).certificate.converged
