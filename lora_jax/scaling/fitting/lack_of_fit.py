"""Does the law miss the runs by more than seeds differ? The F test for lack of fit.

A fit can be an exact minimum with narrow intervals and still be the wrong curve. Cells that were run with
several seeds know the noise without any law; what the cell means miss the law by is compared with it
(Draper and Smith, Applied Regression Analysis, "lack of fit and pure error").
"""

import numpy as np
from scipy.special import fdtrc

from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.cells import SeedNoise, cell_of
from lora_jax.scaling.tables.table import RunTable

LEVEL = 0.01


def lack_of_fit(runs: RunTable, residuals: Array, n_parameters: int, noise: SeedNoise) -> str | None:
    """Return a warning where a law's residuals (n,) of ln L are too large for the noise between seeds.

    noise: what `seed_noise` found. None where the law passes, or where no cell has several seeds or no degree
    of freedom is left, so that nothing can be said.
    """
    sd, dof = noise.sd, noise.degrees_of_freedom
    cells = np.unique(cell_of(runs), return_inverse=True)[1]
    counts = np.bincount(cells)
    spare = len(counts) - n_parameters
    if not sd or spare < 1:
        return None
    means = np.bincount(cells, residuals) / counts
    mean_square = float((counts * means**2).sum() / spare)
    p = float(fdtrc(spare, dof, mean_square / sd**2))
    if p >= LEVEL:
        return None
    times, said = np.sqrt(mean_square) / sd, f"= {p:.1g}" if p > 1e-6 else "< 1e-6"
    return (
        f"lack of fit: the runs lie {np.sqrt(mean_square):.1%} off the law, {times:.1f} times the noise"
        f" between seeds (F test, p {said}), so its form is not theirs over this range"
    )
