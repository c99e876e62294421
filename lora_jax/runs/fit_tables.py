"""The numbers of fits.json that are worth a table on a dashboard."""

import math
from typing import Any

EXPONENTS, HELDOUT, RESIDUALS = "exponents", "heldout", "residuals"  # names of tables
MEASURED, FITTED, PREDICTED, RESIDUAL = "measured", "fitted", "value", "residual"  # and of columns


def fit_tables(fits: dict[str, Any]) -> dict[str, tuple[list[str | int], list[list[Any]]]]:
    """Return name -> (columns, rows) of what fits.json holds."""
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
    """Return what the fits were made of: the config of their run on a dashboard."""
    return {name: fits[name] for name in ("source", "n_runs", "n_fitted", "n_column", "flops_column")}


def _residuals(fits: list[dict[str, Any]]) -> list[list[Any]]:
    """Return what the fit to most runs misses of each of its rows: ln of measured over fitted loss."""
    if not fits:
        return []
    fit = max(fits, key=lambda fit: fit["n"])
    return [
        [fit["key"], run["run_id"], run["measured"], run["fitted"], math.log(run["measured"] / run["fitted"])]
        for run in fit["runs"]
        if run["measured"] and run["fitted"]
    ]


def _spread(number: dict[str, Any]) -> list[float | None]:
    """Return the value and the ends of its interval: empty cells where the runs give none."""
    return [number["value"], *(number["ci95"] or (None, None))]
