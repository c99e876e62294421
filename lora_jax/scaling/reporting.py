"""Parts that the report of a fit and that of a sweep share: the band of a law, the runs left out."""

import numpy as np

from lora_jax.scaling.intervals.uncertainty import Bootstrap
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.results import Band, LeftOutRun
from lora_jax.scaling.tables.run_table import RunTable


def band_of(replicates: Bootstrap, variable: str, x: Array) -> Band:
    """Return the mean response at x (m,) of the one variable, with its 95 % interval."""
    low, high = np.quantile(replicates.losses(**{variable: x}), [0.025, 0.975], axis=0)
    loss = replicates.fit.predict(**{variable: x})
    return Band(*(tuple(y.tolist()) for y in (x, loss, low, high)))


def left_out_of(table: RunTable) -> tuple[LeftOutRun, ...]:
    """Return the runs that the table leaves out, without their rows."""
    return tuple(LeftOutRun(gone.run_id, gone.reason) for gone in table.left_out)
