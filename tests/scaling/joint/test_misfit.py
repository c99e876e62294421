"""Misfit: a law that is true has none to speak of, a bent one has, and its interval is the wider."""

import numpy as np

from lora_jax.scaling.joint.group_laws import HowToFit, fit_alone, law_alone
from lora_jax.scaling.laws import CHINCHILLA
from lora_jax.scaling.tables.cells import UNSEEDED, SeedNoise
from lora_jax.scaling.tables.table import make_table

N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 6)))
WAVE = np.cos(1.2 * np.log(N)) * np.cos(1.2 * np.log(D))


def law_of(bend: float, noise: SeedNoise = UNSEEDED):
    loss = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
    loss = loss * np.exp(bend * WAVE + 0.003 * np.random.default_rng(0).standard_normal(36))
    how = HowToFit(CHINCHILLA, "squared", n_bootstrap=300)
    return law_alone(fit_alone(make_table("t", n_params=N, n_tokens=D, loss=loss), how), how, noise)


def test_a_true_law_has_no_misfit_and_a_bent_one_has() -> None:
    true, bent = law_of(0.0).misfits, law_of(0.015).misfits
    assert true is not None
    assert bent is not None
    assert true.chance < 0.5
    assert bent.chance > 0.95
    assert 0.005 < bent.typical < 0.05, "of a wave whose root mean square is 0.0075"


def test_seeds_tell_misfit_from_noise() -> None:
    """With noise known to be a fifth of the scatter, what is left over is misfit."""
    alone, seeded = law_of(0.004).misfits, law_of(0.004, SeedNoise(0.0006, 12, 24)).misfits
    assert alone is not None
    assert seeded is not None
    assert seeded.chance > max(0.9, alone.chance)


def test_the_misfit_at_a_run_is_that_of_the_run() -> None:
    misfits = law_of(0.015).misfits
    assert misfits is not None
    there = misfits.at({"N": float(N[7]), "D": float(D[7])}, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(there, misfits.drawn[:, 7], atol=1e-3 * misfits.sizes.max())
