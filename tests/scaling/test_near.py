"""From the truth the minimum is the one that `fit` finds from many starts."""

import numpy as np
import pytest

from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.laws.law import Law
from lora_jax.scaling.tables.run_table import RunTable
from tests.scaling.intervals.coverage import TRUTH, grid, noisy
from tests.scaling.laws import test_steps_batch as steps_batch
from tests.scaling.near import fit_near

CASES = [
    *((CHINCHILLA, noisy(grid(8, 6), seed), TRUTH) for seed in range(3)),
    *((steps_batch.LAW, steps_batch.runs(seed), steps_batch.TRUTH) for seed in range(2)),
]


@pytest.mark.parametrize(("law", "table", "truth"), CASES)
def test_the_minimum_is_that_of_many_starts(law: Law, table: RunTable, truth: dict[str, float]) -> None:
    whole, near = fit(law, table), fit_near(law, table, truth)
    assert near.objective == pytest.approx(whole.objective, rel=1e-6)
    np.testing.assert_allclose(near.theta, whole.theta, rtol=1e-3, atol=1e-3)
