"""The numbers of fits.json that are worth a table on a dashboard."""

from typing import Any


def fit_tables(fits: dict[str, Any]) -> dict[str, tuple[list[str | int], list[list[Any]]]]:
    """Return name -> (columns, rows) of what fits.json holds."""
    three, names = ["value", "low", "high"], ["n_params", "n_tokens", "loss"]
    cell = fits["heldout_cell"]
    return {
        "exponents": (
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
        "heldout": (
            ["fit", "measured", *three, "relative error"],
            [[p["key"], cell["measured"], *_spread(p), p["relative_error"]] for p in cell["predictions"]],
        ),
        "warnings": (["warning"], [[line] for line in fits["warnings"]]),
    }


def fit_facts(fits: dict[str, Any]) -> dict[str, Any]:
    """Return what the fits were made of: the config of their run on a dashboard."""
    return {name: fits[name] for name in ("source", "n_runs", "n_fitted", "n_column", "flops_column")}


def _spread(number: dict[str, Any]) -> list[float | None]:
    """Return the value and the ends of its interval: empty cells where the runs give none."""
    return [number["value"], *(number["ci95"] or (None, None))]
