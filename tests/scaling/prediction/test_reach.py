"""Budgets beyond all runs and optima that fall are named in the verdict, of every command that answers."""

from collections.abc import Callable

import numpy as np
import pytest

from lora_jax.estimate import Estimate
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.optima.isoflop import isoflop
from lora_jax.scaling.prediction.reach import falling, out_of_reach
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_law


@pytest.mark.parametrize(
    ("questions", "is_far"),
    [
        ({"budgets": [1e14]}, False),
        ({"budgets": [1e30]}, True),
        ({"predict": [{"N": 1e7, "D": 1e8}]}, False),
        ({"predict": [{"N": 1e12, "D": 1e13}]}, True),
        ({"serve": [(1.3, 1e9)]}, False),
        ({"serve": [(1.202, 1e9)]}, True),  # near the floor of 1.2, where training alone takes 1e22 FLOPs
    ],
)
def test_a_target_beyond_a_million_times_the_runs_is_in_the_verdict(
    sweep: Callable[..., RunTable], questions: dict[str, list[object]], is_far: bool
) -> None:
    document = fit_law(sweep(noise=1e-5), CHINCHILLA, Questions(n_bootstrap=50, **questions))  # type: ignore[arg-type]
    assert (
        "times the largest compute of the runs: they cannot tell" in document["certificate"]["verdict"]
    ) == is_far


def test_reach_is_counted_by_c_or_by_6nd() -> None:
    table = make_table("t", n_params=[1e6, 1e7], n_tokens=[1e9, 1e9], loss=[3, 2])
    assert out_of_reach(table, [5.9e22]) == []
    assert len(out_of_reach(table, [6.1e22, 6.1e22, 1e23])) == 2
    assert out_of_reach(make_table("t", finetune_tokens=[1.0, 2], loss=[3, 2]), [1e99]) == []


def test_an_optimum_that_falls_is_named() -> None:
    half, minus_one, more, less = (Estimate(x, None, None) for x in (0.5, -1, 1.2, -0.2))
    assert falling({"a": half, "b": half, "G_N": minus_one}) == []
    assert falling({"a": more, "b": less}) == ["D* falls with C (b = -0.200): see the units of N, D, C"]
    # minima whose N rises faster than C
    rows = [
        (n, c / (6 * n), 2 + 0.1 * np.log(n / best) ** 2)
        for c, best in ((1e18, 1e8), (1e19, 1.6e9), (1e20, 2.5e10))
        for n in best * np.array([0.25, 0.5, 1, 2, 4])
    ]
    n, d, loss = map(np.array, zip(*rows, strict=True))
    found = isoflop(make_table("t", n_params=n, n_tokens=d, loss=loss), n_bootstrap=100)
    assert "D* falls with C" in found.verdict.words
