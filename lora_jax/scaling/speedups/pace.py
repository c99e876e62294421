"""How many seconds a token takes in a recipe, at any size: a line of ln seconds on ln N."""

from dataclasses import dataclass

import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.laws.law import Array
from lora_jax.scaling.tables.run_table import RunTable
from lora_jax.scaling.tables.units import parse_formula

SAME = 1e-6  # of ln N: less apart, two sizes are one


@dataclass(frozen=True)
class Pace:
    """ln of the seconds per unit of D = line[0] + line[1] ln(N / middle).

    Attributes:
        middle: The geometric mean of N.
        line: Intercept and slope (2,). The slope is 0 where all runs have one N, or none.
        samples: Their replicates (B, 2).
    """

    middle: float
    line: Array
    samples: Array

    def seconds(self, n_params: float | None) -> tuple[float, Array]:
        """Return the seconds per unit of D at a size, and their replicates (B,)."""
        x = 0.0 if n_params is None else float(np.log(n_params / self.middle))
        return float(np.exp(self.line[0] + self.line[1] * x)), np.exp(
            self.samples[:, 0] + self.samples[:, 1] * x
        )


def find_seconds(table: RunTable, column: str) -> Array:
    """Return the seconds of each run, (n,), from a column or a formula of one, such as "ms/1e3".

    Raises:
        LoraJaxError: There is no such column, or a cell is not above 0.
    """
    found = parse_formula(column, list(table.columns))
    if found is None:
        table[column]  # says what is missing
    name, unit = found or (column, None)
    values = table[name] if unit is None else unit.value(table[name])
    if not (values > 0).all():
        bad = table.run_ids[int(np.argmin(values > 0))]
        raise LoraJaxError(
            f"{table.source}, column {name!r} has seconds that are not above 0, as {bad}: mend them, or leave"
            " --seconds out."
        )
    return values


def find_pace(table: RunTable, seconds: Array, variable: str, size: int, seed: int) -> Pace:
    """Find the pace of a recipe's runs.

    Args:
        table: The runs.
        seconds: Seconds of each (n,).
        variable: What a run's length counts in. Tokens that another run of a trunk trained take no time.
        size: Replicates (B).
        seed: Seed of the draws.
    """
    length = table.columns.get("trained_tokens") if variable == "D" else None
    y = np.log(seconds / (table.variable(variable) if length is None else length))
    n = table.variable("N") if table.has("N") else np.ones(len(table))
    x = np.log(n) - np.log(n).mean()
    columns = np.stack([np.ones(len(x)), x], 1)[:, : 2 if np.ptp(x) > SAME else 1]
    rng = np.random.default_rng((seed, 11))
    line: Array = np.asarray(np.linalg.lstsq(columns, y, rcond=None)[0], np.float64)
    freedom = len(y) - columns.shape[1]
    if freedom < 1:
        samples: Array = np.repeat(line[None], size, 0)
    else:  # exact for normal errors: the noise of each replicate has a size of its own
        sd = np.sqrt(((y - columns @ line) ** 2).sum() / rng.chisquare(freedom, size))
        root = np.linalg.cholesky(np.linalg.inv(columns.T @ columns))
        samples = line + sd[:, None] * rng.standard_normal((size, len(line))) @ root.T
    if len(line) == 1:
        line, samples = np.append(line, 0.0), np.column_stack([samples, np.zeros(size)])
    return Pace(
        float(np.exp(np.log(n).mean())), np.asarray(line, np.float64), np.asarray(samples, np.float64)
    )
