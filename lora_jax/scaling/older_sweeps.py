"""fits.json of formats 1 and 2: a fit says less there than its report does, and the rest is of the sweep.

In format 1 `law` of a fit is the law in words; from 2 on it is the key of the law, and `name` has the words.
What an older file does not say is null or empty in the report. Columns and units that it leaves out are those
of our own runs, which alone were written so.
"""

from collections.abc import Mapping
from typing import Any

SAME = ("key", "law", "name", "formula", "slice", "n", "run_ids", "bootstrap", "residuals")
OF_A_CERTIFICATE = ("converged", "grad_norm", "polish_gain", "condition_number", "verdict", "warnings")
OF_A_PARAMETER = ("unit", "fixed")  # which older files do not have
UNTOLD = {
    "n_minima": None, "at_bound": None, "weakly_identified": None, "start_equals_answer": None,
    "influence": None, "outliers": None, "structure": None, "largest_runs": None,
}  # fmt: skip
NOT_ASKED: dict[str, Any] = {
    "reference": "", "response": "loss", "n_clusters": None, "clusters": None, "notes": [], "derived": {},
    "predictions": [], "differences": [], "runs": [], "profiles": {}, "samples": {}, "band": None,
    "frontier": None, "conventions": {}, "comparison": None, "command": "", "versions": {},
}  # fmt: skip
OF_THE_JOINT_LAW = ("a", "b", "G")  # which `frontier` of the document has


def from_older(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of format 1 or 2 with a whole report for each fit."""
    fits = document.get("fits")
    if not isinstance(fits, list):
        return dict(document)
    return {**document, "fits": [_to_report(fit, document) for fit in fits]}


def to_older(document: Mapping[str, Any], format: int) -> dict[str, Any]:
    """Return a document as format 1 or 2 has it."""
    return {**document, "fits": [_to_older_fit(fit, format) for fit in document["fits"]]}


def _to_report(fit: Any, document: Mapping[str, Any]) -> Any:
    if not isinstance(fit, Mapping) or not isinstance(fit.get("params"), Mapping):
        return fit
    report = {**NOT_ASKED, **_of_the_sweep(document), **fit}
    if document.get("format", 1) == 1 and {"key", "law"} <= set(fit):
        report |= {"law": fit["key"], "name": fit["law"]}
    report["params"] = {
        name: {"unit": "", "fixed": False, **number} if isinstance(number, Mapping) else number
        for name, number in fit["params"].items()
    }
    if isinstance(fit.get("variable"), str):
        report["variables"] = fit["variable"].split(",")
    if isinstance(fit.get("objective"), Mapping):
        report["objective"] = {**fit["objective"], "words": fit["objective"].get("name")}
    if isinstance(fit.get("certificate"), Mapping):
        report["certificate"] = {**UNTOLD, **fit["certificate"]}
    frontier = document.get("frontier")
    if len(report.get("variables", ())) > 1 and isinstance(frontier, Mapping) and frontier.get("a"):
        report["derived"] = {name: frontier[name] for name in OF_THE_JOINT_LAW}
    numbers = {**report["derived"], **fit["params"]}
    leading = next((name for name in numbers if name == "a" or name.startswith("alpha")), next(iter(numbers)))
    report["leading"] = {"name": leading, "value": numbers[leading]["value"]}
    return report


def _of_the_sweep(document: Mapping[str, Any]) -> dict[str, Any]:
    n_column, flops_column = document.get("n_column"), document.get("flops_column")
    unit = document.get("loss_unit") or "nats per token"
    told = document.get("unit_told")
    return {
        "table": document.get("source"), "n_column": n_column, "flops_column": flops_column,
        "columns": document.get("columns") or {"N": n_column, "D": "n_tokens", "C": flops_column},
        "loss_unit": unit, "response_unit": unit, "unit_told": True if told is None else told,
        "left_out": document.get("left_out"),
    }  # fmt: skip


def _to_older_fit(fit: Mapping[str, Any], format: int) -> dict[str, Any]:
    old = {name: fit[name] for name in SAME}
    old["variable"] = ",".join(fit["variables"])
    old["objective"] = {"name": fit["objective"]["words"], "value": fit["objective"]["value"]}
    old["certificate"] = {name: fit["certificate"][name] for name in OF_A_CERTIFICATE}
    old["params"] = {
        name: {part: x for part, x in number.items() if part not in OF_A_PARAMETER}
        for name, number in fit["params"].items()
    }
    if fit["band"] is not None:
        old["band"] = fit["band"]
    if format == 1:
        old["law"] = old.pop("name")
    return old
