"""Tables for a dashboard, made from the numbers of fits.json."""

import math
from typing import Any

EXPONENTS, HELDOUT, RESIDUALS = "exponents", "heldout", "residuals"  # names of tables
MEASURED, FITTED, PREDICTED, RESIDUAL = "measured", "fitted", "value", "residual"  # names of columns


def fit_tables(fits: dict[str, Any]) -> dict[str, tuple[list[str | int], list[list[Any]]]]:
    """Return the tables of a dashboard by name, as (columns, rows), from the content of fits.json."""
    three, names = [PREDICTED, "low", "high"], ["n_params", "n_tokens", "loss"]
    cell = fits["heldout_cell"]
    return {
        EXPONENTS: (
            ["exponent", "fit", *three],
            [[name, e["fit"], *_spread(e)] for name, e in fits["exponents"].items()],
        ),
        "params": (
            ["fit", "parameter", *three, "verdict"],
            [
                [fit["key"], name, *_spread(number), fit["certificate"]["verdict"]]
                for fit in fits["fits"]
                for name, number in fit["params"].items()
            ],
        ),
        "frontier": (
            ["flops", *(f"{name} {part}" for name in names for part in three)],
            [
                [row["flops"], *(x for n in names for x in _spread(row[n]))]
                for row in fits["frontier"]["rows"]
            ],
        ),
        HELDOUT: (
            ["fit", MEASURED, *three, "relative error"],
            [[p["key"], cell["measured"], *_spread(p), p["relative_error"]] for p in cell["predictions"]],
        ),
        RESIDUALS: (
            ["fit", "run", MEASURED, FITTED, RESIDUAL],
            _residuals(fits["fits"]),
        ),
        "warnings": (["warning"], [[line] for line in fits["warnings"]]),
    }


def fit_facts(fits: dict[str, Any]) -> dict[str, Any]:
    """Return what the fits were made of. It is the config of their run on a dashboard."""
    return {name: fits[name] for name in ("source", "n_runs", "n_fitted", "n_column", "flops_column")}


def _residuals(fits: list[dict[str, Any]]) -> list[list[Any]]:
    """Return a row for each run of the fit with most runs.

    The residual is ln of measured over fitted loss.
    """
    if not fits:
        return []
    fit = max(fits, key=lambda fit: fit["n"])
    return [
        [fit["key"], run["run_id"], run["measured"], run["fitted"], math.log(run["measured"] / run["fitted"])]
        for run in fit["runs"]
        if run["measured"] and run["fitted"]
    ]


def _spread(number: dict[str, Any]) -> list[float | None]:
    """Return the value and the ends of its interval. The ends are None if there is no interval."""
    return [number["value"], *(number["ci95"] or (None, None))]
