"""95% intervals hold the truth in 95 of 100 tables (coverage.py measures more), or are warned of."""

from dataclasses import replace

import numpy as np
import pytest

from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.intervals.interval_check import few_runs_warning, interval_warning
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laws import CHINCHILLA, power_law
from tests.scaling.intervals.coverage import ALPHA, BETA, coverage, grid, noisy, scatter


@pytest.mark.slow
def test_intervals_cover_in_95_of_100() -> None:
    """200 tables of 48 runs: within two standard errors of a share, 1.5% each."""
    for name, share in coverage(grid(8, 6), range(200)).items():
        assert 0.92 <= share <= 0.98, (name, share)


@pytest.mark.slow
def test_drawn_cases_cover_too_often_where_the_objective_has_corners() -> None:
    """Why noise is drawn where the residuals allow it: cases hold the truth in 98 to 100% of 60 tables."""
    shares = coverage(grid(8, 6), range(60), kind="case")
    assert np.mean(list(shares.values())) > 0.97


def test_eight_runs_are_warned_of() -> None:
    found = fit(CHINCHILLA, noisy(scatter(8), 0))
    warning = few_runs_warning(found.problem)
    assert warning is not None
    assert "8 runs for 5 parameters leave 3 degrees of freedom" in warning
    assert warning in str(interval_warning(bootstrap(found, 200)))


def test_thirty_runs_are_enough() -> None:
    found = fit(CHINCHILLA, noisy(grid(6, 5), 0))
    assert few_runs_warning(found.problem) is None


def test_fixed_parameters_leave_degrees_of_freedom() -> None:
    table = noisy(scatter(24), 0)
    assert few_runs_warning(fit(CHINCHILLA, table).problem) is not None
    assert few_runs_warning(fit(CHINCHILLA, table, fixed={"alpha": ALPHA, "beta": BETA}).problem) is None


def test_a_linear_law_needs_one_degree_of_freedom() -> None:
    """ln L is linear in a power law's parameters; with a floor it is not."""
    table = noisy(scatter(6), 0)
    assert few_runs_warning(fit(power_law("N"), table).problem) is None
    assert "6 runs for 3 parameters" in str(
        few_runs_warning(fit(power_law("N", irreducible=True), table).problem)
    )
    assert "0 degrees of freedom" in str(few_runs_warning(fit(power_law("N"), table.take([0, 1])).problem))


def test_few_or_dependent_draws_are_warned_of() -> None:
    found = fit(CHINCHILLA, noisy(grid(8, 6), 0))
    assert interval_warning(bootstrap(found, 200)) is None
    assert "50 bootstrap replicates are too few: ask for 200" in str(interval_warning(bootstrap(found, 50)))
    twelve = np.arange(48) // 4
    assert "12 independent clusters" in str(interval_warning(bootstrap(found, 200, clusters=twelve)))
    curves = noisy(grid(6, 4), 0)
    curves = replace(curves, clusters=tuple(str(i // 2) for i in range(24)))
    drawn = bootstrap(fit(CHINCHILLA, curves), 200)
    assert drawn.kind == "parametric"
    assert "24 rows come from 12 training runs" in str(interval_warning(drawn))
