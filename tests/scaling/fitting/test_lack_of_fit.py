"""A law that is not the runs' own is said so; the right one is left in peace."""

from collections.abc import Callable

import numpy as np

from lora_jax.scaling.fitting.fit import fit
from lora_jax.scaling.fitting.lack_of_fit import lack_of_fit
from lora_jax.scaling.laws import CHINCHILLA, Law, power_law
from lora_jax.scaling.tables.cells import seed_noise
from lora_jax.scaling.tables.table import RunTable, make_table


def look(law: Law, runs: RunTable, objective: str = "squared") -> str | None:
    return lack_of_fit(runs, fit(law, runs, objective).residuals, len(law.names), seed_noise(runs))


def curve(seed: int, floor: float, n_seeds: int = 3) -> RunTable:
    n_params = np.repeat(np.geomspace(1e4, 1e7, 8), n_seeds)
    noise = 0.005 * np.random.default_rng(seed).standard_normal(len(n_params))
    return make_table(
        "synthetic",
        n_params=n_params,
        n_tokens=np.full_like(n_params, 1e9),
        loss=(floor + (1e8 / n_params) ** 0.2) * np.exp(noise),
        seed=np.tile(np.arange(n_seeds), 8),
    )


def test_the_right_law_is_flagged_as_rarely_as_the_level_says() -> None:
    """400 sweeps at level 1 %: 4 expected, 10 or more in 0.8 % of trials."""
    flagged = sum(look(power_law("N"), curve(seed, 0.0)) is not None for seed in range(400))
    assert flagged <= 9


def test_a_power_law_through_runs_with_a_floor_is_flagged() -> None:
    said = look(power_law("N"), curve(0, 1.5))
    assert said is not None
    assert "times the noise between seeds" in said
    assert look(power_law("N", irreducible=True), curve(0, 1.5)) is None


def test_one_cell_with_three_seeds_is_weak_evidence(sweep: Callable[..., RunTable]) -> None:
    assert look(CHINCHILLA, sweep(), "huber") is None
    assert seed_noise(sweep()).degrees_of_freedom == 2


def test_without_seeds_nothing_is_said() -> None:
    assert look(power_law("N"), curve(0, 1.5, n_seeds=1)) is None
