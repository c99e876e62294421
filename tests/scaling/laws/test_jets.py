"""Jets: derivatives exact to rounding, whatever the formula."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lora_jax.scaling.laws.jets import Jet, exp, larger, log, log_add, smaller, softplus, variables

X = np.linspace(-2, 3, 6)
FORMULAS: dict[str, Callable[..., Any]] = {
    "product and quotient": lambda a, b: (a * X + 2.0) * b / (exp(a) + X**2),
    "difference, number first": lambda a, b: 1.0 - a * b - X,
    "number over jet": lambda a, b: X / (2.0 + exp(b)) + 3.0 / (a + 5.0),
    "log of exp": lambda a, b: log(exp(a * X) + exp(b)),
    "log_add": lambda a, b: log_add(a * X, b - 1.0),
    "softplus": lambda a, b: softplus((b - X) / exp(a)),
    "smaller": lambda a, b: smaller(a * X + b, X**2 - 1),
    "larger": lambda a, b: larger(a * b * X, 0.3),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_are_finite_differences(name: str) -> None:
    formula, h = FORMULAS[name], 1e-5
    theta = np.array([[0.7, -0.4], [1.3, 0.9]])
    jet = formula(*variables(theta))
    assert isinstance(jet, Jet)

    def value(t: np.ndarray) -> np.ndarray:
        return np.asarray(formula(t[:, 0, None], t[:, 1, None]))

    np.testing.assert_allclose(np.broadcast_to(jet.value, (2, 6)), value(theta), rtol=1e-12)
    for p in range(2):
        step = h * np.eye(2)[p]
        slope = (value(theta + step) - value(theta - step)) / (2 * h)
        np.testing.assert_allclose(np.broadcast_to(jet.gradient[:, p], (2, 6)), slope, rtol=1e-6, atol=1e-8)
        plus, minus = (formula(*variables(theta + s)).gradient for s in (step, -step))
        bend = np.broadcast_to((plus - minus) / (2 * h), (2, 2, 6))
        for run in range(6):
            alone = np.tile(np.eye(6)[run], (2, 1))
            np.testing.assert_allclose(jet.contract(alone)[:, p], bend[..., run], rtol=1e-5, atol=1e-7)


def test_what_is_not_chosen_need_not_be_defined() -> None:
    """Such as the logarithm of what is below 0 where `larger` takes the number instead."""
    (a,) = variables(np.array([[0.5]]))
    x = np.array([0.0, 1.0])
    with np.errstate(invalid="ignore"):
        jet = exp(smaller(log(a - x), np.array([9.0, -9.0])))
    np.testing.assert_allclose(jet.value, [[0.5, np.exp(-9.0)]])
    np.testing.assert_allclose(jet.contract(np.array([[1.0, 1.0]])), [[[0.0]]], atol=1e-12)


def test_a_formula_is_nan_where_it_is_not_defined() -> None:
    (a,) = variables(np.array([[-1.0], [1.0]]))
    found = log(a)
    assert np.isnan(found.value[0, 0])
    assert found.value[1, 0] == 0
