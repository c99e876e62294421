"""Training curves: curves/RUN_ID.csv read, and averaged so that a figure can show them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.report.kit.cells import read_cells

CURVE_COLUMNS = ("step", "n_tokens", "flops", "loss", "learning_rate")
MOST_POINTS = 120  # of one curve: more show noise only, and make a heavy SVG


def read_curve(path: Path) -> dict[str, list[float]]:
    """Read curves/RUN_ID.csv by column; raises LoraJaxError for a damaged one."""
    columns, rows = read_cells(path, "delete it and its run's file, and run the sweep again")
    absent = [name for name in CURVE_COLUMNS if name not in columns]
    if absent:
        raise LoraJaxError(f"{path} has no column {absent[0]!r}: run the sweep again.")
    try:
        # A run that diverges may end in a row without a loss.
        whole = [row for row in rows if row[columns.index("loss")] not in ("", "nan", "inf")]
        return {name: [float(row[columns.index(name)]) for row in whole] for name in CURVE_COLUMNS}
    except ValueError as error:
        raise LoraJaxError(
            f"{path} holds a cell that is no number ({error}): run the sweep again."
        ) from error


def smooth(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return means of y over at most MOST_POINTS windows, even on a logarithmic axis, each at its last x.

    Early rows stay as they are; late ones, whose noise would bury the other curves, are averaged.
    """
    n = len(x)
    if n <= MOST_POINTS:
        return list(x), list(y)
    ends = sorted({round(n ** (i / (MOST_POINTS - 1))) for i in range(MOST_POINTS)})
    starts = [0, *ends[:-1]]
    means = [float(np.mean(y[i:j])) for i, j in zip(starts, ends, strict=True)]
    return [x[j - 1] for j in ends], means
