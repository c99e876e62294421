"""A law that can only fall says so where the response rises, and says nothing where it falls."""

from collections.abc import Callable

import numpy as np
import pytest

from lora_jax.scaling.fitting.direction import direction_warnings, falling_variables
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.laws.any_power import any_power
from lora_jax.scaling.tables.table import RunTable, make_table

FALLING = {
    "chinchilla": ("N", "D"),
    "power-c": ("C",),
    "kaplan": ("N", "D"),
    "kaplan-steps": ("N", "S"),
    "steps-batch": ("N", "S", "B"),
    "finetuning-p": ("P", "F"),
    "rectified": ("F",),
    "critical-batch": ("L",),
    "broken-n": (),
    "downstream-error": (),
}


def test_what_can_only_fall_follows_from_the_bounds_of_its_exponents() -> None:
    assert {name: falling_variables(LAWS[name]) for name in FALLING} == FALLING
    assert falling_variables(any_power("lr", ["N", "D"])) == ()


@pytest.mark.parametrize("law", ["power-n", "power-n-floor", "chinchilla", "kaplan", "shared-exponent"])
def test_a_rising_response_is_named_with_the_way_out(law: str) -> None:
    rng = np.random.default_rng(0)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e10, 4)))
    table = make_table(
        "up", n_params=n, n_tokens=d, loss=1e-3 * n**0.2 * np.exp(0.01 * rng.standard_normal(20))
    )
    (warning,) = direction_warnings(pose(LAWS[law], table))
    assert "loss rises with N, about as N^0.2," in warning
    assert "--law power --response loss --of N" in warning


@pytest.mark.parametrize("law", ["power-n", "power-d", "power-c", "chinchilla", "over-training"])
def test_a_falling_response_is_not_warned_of(law: str, sweep: Callable[..., RunTable]) -> None:
    assert direction_warnings(pose(LAWS[law], sweep())) == []


def test_two_rows_and_a_constant() -> None:
    two = make_table("two", n_params=[1e6, 1e7], loss=[2.0, 3.0])
    assert "rises with N" in direction_warnings(pose(LAWS["power-n"], two))[0]
    flat = make_table("flat", n_params=[1e6, 1e7, 1e8], loss=[2.0] * 3)
    assert "the same in every run" in direction_warnings(pose(LAWS["power-n"], flat))[0]
