"""How ratios and their intervals are spelled."""

import math

import pytest

from lora_jax.estimate import Estimate
from lora_jax.scaling.speedups.results import spell_ends


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.32, 1.25, "0.32 to 1.25"),
        (0.32, 1.3e44, "0.32 and up"),
        (0.32, math.inf, "0.32 and up"),
        (0.32, 4e5, "0.32 to 4e+05"),
        (2e6, math.inf, "no limit"),
    ],
)
def test_an_end_that_no_run_stands_behind_is_no_number(low: float, high: float, text: str) -> None:
    assert spell_ends(Estimate(1.0, 0.1, (low, high)), 2) == text
