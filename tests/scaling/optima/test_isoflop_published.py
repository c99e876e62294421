"""Approach 2 on the IsoFLOP curves of Porian et al. 2406.19146: their exponents, optima and refusals."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.scaling.optima.isoflop import isoflop
from lora_jax.scaling.tables.table import RunTable, make_table
from lora_jax.scaling.verdict import Level

CONFIGURATION = ("dataset", "hparams", "warmup", "decay", "param_count", "val")


def read_configurations(folder: Path) -> list[tuple[dict[Any, Any], RunTable]]:
    with (folder / "porian_isoflop.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"n_params": "n", "n_tokens": "t", "flops": "flops", "loss": "loss"}
    pairs = []
    for fit in json.loads((folder / "porian_published_fits.json").read_text()):
        mine = [r for r in rows if all(r[k] == fit[k] for k in CONFIGURATION)]
        columns = {k: [float(r[v]) for r in mine] for k, v in names.items()}
        pairs.append((fit, make_table("porian", None, **columns)))
    return pairs


def test_all_15_configurations_of_porian_give_the_published_exponent(published: Path) -> None:
    found = {}
    for fit, table in read_configurations(published):
        result = isoflop(table, method="akima", n_bootstrap=100)
        a = result.exponents["a"]
        found[tuple(fit[k] for k in CONFIGURATION)] = a.value
        assert a.value == pytest.approx(fit["a_published"], abs=0.0075)
        assert a.low < fit["a_published"] < a.high
        # the budgets that the paper has no optimum for are the ones refused here
        missing = [o["flops"] for o in fit["optima"] if o["n_star_bs_median"] is None]
        assert [r.flops for r in result.refused] == pytest.approx(missing)
        theirs = {o["flops"]: o["n_star_bs_median"] for o in fit["optima"]}
        for row in result.budgets:
            nearest = min(theirs, key=lambda c: abs(np.log(c / row.flops)))
            assert row.n_params.value == pytest.approx(theirs[nearest], rel=0.2)
    assert len(found) == 15
    assert found["rw", "base", "long", "kaplan", "kaplan", "train"] == pytest.approx(0.835, abs=0.005)
    assert found["rw", "tuned", "short", "const", "standard", "val"] == pytest.approx(0.497, abs=0.002)


def test_a_parabola_through_all_their_runs_says_that_it_does_not_fit(published: Path) -> None:
    """Many of their runs lie far from the optimum: a parabola through them all misses by percents."""
    for fit, table in read_configurations(published)[:4]:
        result = isoflop(table, n_bootstrap=100)
        off = abs(result.exponents["a"].value - fit["a_published"])
        assert off < 0.0075 or result.verdict.level is Level.BE_CAREFUL
        assert {row.flops for row in result.budgets}.isdisjoint(r.flops for r in result.refused)
