"""Documents of one law fitted to one table, as the fit laboratory makes them."""

import functools
import json
from typing import Any

import numpy as np

from lora_jax.scaling.laws import CHINCHILLA, power_law
from lora_jax.scaling.one_law import Questions
from lora_jax.scaling.tables.table import RunTable, make_table
from tests.as_documents import fit_law

HOFFMANN = {"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28}


@functools.cache
def _text(kind: str) -> str:
    if kind == "one variable":
        asked = Questions(objective="squared", n_bootstrap=200, predict=[{"D": 2e13}], figures=True)
        law, command = power_law("D", True), "lora-jax fit runs.csv --law power-d-floor"
        document = fit_law(make_runs(2, 20), law, asked, command)
    else:
        asked = Questions(
            n_bootstrap=200,
            predict=[{"N": 7e10, "D": 1.4e12}],
            budgets=[5.76e23],
            versus=["hoffmann"],
            compare=True,
            figures=True,
        )
        command = "lora-jax fit runs.csv --law chinchilla"
        document = fit_law(make_runs(outlier=0.3), CHINCHILLA, asked, command)
    return json.dumps(document, allow_nan=False)


def some_document(kind: str = "two variables") -> dict[str, Any]:
    """Return a document of its own, read back from JSON: of L(N,D), or of L(D) with a floor."""
    return json.loads(_text(kind))


def make_runs(n_sizes: int = 7, n_counts: int = 6, noise: float = 0.01, outlier: float = 0.0) -> RunTable:
    """Return a grid of runs of a Chinchilla law; `outlier` is added to ln L of the third."""
    grid = np.meshgrid(np.geomspace(5e7, 5e9, n_sizes), np.geomspace(1e9, 2e11, n_counts))
    n_params, n_tokens = (x.ravel() for x in grid)
    rng = np.random.default_rng(3)
    loss = 1.8 + 480 / n_params**0.35 + 2100 / n_tokens**0.37
    loss *= np.exp(noise * rng.standard_normal(len(loss)) + outlier * (np.arange(len(loss)) == 2))
    return make_table("runs.csv", n_params=n_params, n_tokens=n_tokens, loss=loss)
