"""The tables of one fit as plain rows of text: one source for the terminal and for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_jax.report import rows
from lora_jax.report.fit_words import Document, response_in_unit
from lora_jax.report.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
)
from lora_jax.report.rows import INTERVAL, Table

COUNTED = ("parameters", "tokens")  # units that are written as 1.3B
FAR = 10.0  # times the largest compute of the table, from which a prediction is marked


def parameter_rows(document: Document) -> Table:
    """Return every parameter with its intervals, then what follows from them."""
    certificate, profiles = document["certificate"], document["profiles"]
    marks = {"at a bound": certificate["at_bound"], "weakly identified": certificate["weakly_identified"]}
    found, flagged = [], set()
    for name, number in document["params"].items():
        said = [mark for mark, names in marks.items() if name in names]
        if said:
            flagged.add(len(found))
        said += ["fixed"] if number.get("fixed") else []
        found.append((name, *_three(number), _profile(profiles.get(name)), number["unit"], ", ".join(said)))
    for name, number in document["derived"].items():
        found.append((name, *_three(number), "", "", "follows from the others"))
    columns = ("parameter", "value", "\u00b1 se", INTERVAL, "by profile", "unit", "remark")
    table = Table("Fitted parameters", columns, tuple(found), frozenset({1, 2}), frozenset(flagged))
    kept = [c for i, c in enumerate(columns) if i < 4 or any(row[i] for row in found)]
    return table.select(kept)


def _three(number: dict[str, Any]) -> tuple[str, str, str]:
    value, interval = format_interval(number)
    if number.get("fixed"):
        return value, MISSING, MISSING
    return value, MISSING if number["se"] is None else format_power(number["se"], 2), interval


def _profile(profile: Mapping[str, Any] | None) -> str:
    if profile is None:
        return ""
    low, high = profile["ci95"]
    if low is None:
        return "open at both ends" if high is None else f"below {format_power(high)}"
    if high is None:
        return f"above {format_power(low)}"
    return f"{format_power(low)} to {format_power(high)}"


def prediction_rows(document: Document, most: int | None = None) -> Table | None:
    """Return what the law says elsewhere; at most `most` rows, with a note of how many there are."""
    predictions = document["predictions"]
    if not predictions:
        return None
    shown = predictions[:most]
    found, flagged = [], set()
    for i, p in enumerate(shown):
        if p["beyond"] is not None and p["beyond"] > FAR:
            flagged.add(i)
        value, interval = _spell(p, "ci95")
        found.append((p["quantity"], _at(p["at"]), value, interval, _spell(p, "ci80")[1], p["unit"], _far(p)))
    columns = ("quantity", "at", "value", INTERVAL, "80 % interval", "unit", "beyond the table")
    note = ""
    if len(shown) < len(predictions):
        note = f"{len(predictions) - len(shown)} more are in the page and in the JSON output."
    return Table("What the law predicts", columns, tuple(found), frozenset({2}), frozenset(flagged), note)


def _far(prediction: Mapping[str, Any]) -> str:
    beyond = prediction["beyond"]
    return f"{beyond:.3g} times its largest C" if beyond is not None and beyond > 1 else ""


def _spell(prediction: Mapping[str, Any], key: str) -> tuple[str, str]:
    ends = prediction.get(key)
    if prediction["unit"] in COUNTED:
        between = "no interval" if not ends else f"{format_count(ends[0])} to {format_count(ends[1])}"
        return format_count(prediction["value"]), between
    return format_interval({"value": prediction["value"], "se": None, "ci95": ends})


def _at(values: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name} = {format_power(x) if name == 'C' else format_count(x)}" for name, x in values.items()
    )


def difference_rows(document: Document) -> Table | None:
    """Return whether the fit differs from published constants, a row each."""
    differences = document["differences"]
    if not differences:
        return None
    found = []
    for d in differences:
        theirs = ", ".join(f"{name} {format_power(p['theirs'])}" for name, p in d["params"].items())
        outside = [name for name, p in d["params"].items() if not p["inside"]]
        found.append((
            d["name"], theirs, ", ".join(outside) or "none", _ratio(d["objective_ratio"]),
            format_power(d["p"], 2), d["words"],
        ))  # fmt: skip
    columns = ("published", "its constants", "outside our intervals", "objective", "p", "in words")
    note = (
        "objective: with their constants over that of this fit. p: of these runs, were their constants true."
    )
    return Table("Against published constants", columns, tuple(found), frozenset({3, 4}), note=note)


def _ratio(ratio: float | None) -> str:
    return MISSING if ratio is None else format_power(ratio)


def comparison_rows(document: Document, most: int | None = None) -> Table | None:
    """Return the laws in the order of the document, by how they predict runs that they have not seen."""
    comparison = document["comparison"]
    if comparison is None:
        return None
    found = [
        (
            r["name"], r["formula"], str(r["n_params"]), _percent(r["heldout_rms"]),
            _percent(r["rolling_rms"]), _percent(r["rolling_se"]), r["verdict"],
        )
        for r in comparison["rows"][:most]
    ]  # fmt: skip
    columns = ("law", "formula", "parameters", "largest left out", "rolling origin", "\u00b1 se", "verdict")
    own = frozenset(i for i, r in enumerate(comparison["rows"][:most]) if r["key"] == document["law"])
    note = (
        "Root mean square error of ln L on runs that a law has not seen; the verdict is against the best law."
    )
    return Table(
        "Laws by their errors on unseen runs", columns, tuple(found), frozenset({2, 3, 4, 5}), own, note
    )


def _percent(fraction: float | None) -> str:
    return format_percent(fraction, signed=False)


def frontier_rows(document: Document) -> Table | None:
    """Return N*, D* and the loss at budgets along the frontier."""
    if not document["frontier"]:
        return None
    derived = document["derived"]
    table = rows.frontier_rows({
        "frontier": {"rows": document["frontier"]["rows"], "a": derived.get("a"), "b": derived.get("b")},
        "n_column": document["n_column"],
    })  # fmt: skip
    if table is None:
        return None
    note = table.note.partition(";")[0].rstrip(".")
    return replace(table, title="Least loss by budget", note=f"{note}.")


def convention_rows(document: Document) -> Table | None:
    """Return the leading exponent by what is counted as N and C."""
    if not document["conventions"]:
        return None
    name = document["leading"]["name"]
    found = tuple(
        (convention, c["n_column"], c["flops_column"], *format_interval(c["exponent"]))
        for convention, c in document["conventions"].items()
    )
    columns = ("convention", "N", "C", name, INTERVAL)
    return Table(f"{name} by counting convention", columns, found, frozenset({3}))


def run_rows(document: Document) -> Table:
    """Return every row that was fitted, with what the law says of it and what it does to the exponent."""
    runs, name = document["runs"], document["leading"]["name"]
    variables = list(document["variables"])
    if "C" not in variables and any(run.get("C") is not None for run in runs):
        variables.append("C")
    outliers = set(_ids(document, "outliers"))
    flagged = frozenset(i for i, run in enumerate(runs) if run["run_id"] in outliers)
    found = tuple(
        (
            run["run_id"], *(_variable(v, run.get(v)) for v in variables), format_loss(run["measured"]),
            format_loss(run["fitted"]), format_percent(run["measured"] / run["fitted"] - 1),
            MISSING if run["influence"] is None else f"{run['influence']:+.4f}".replace("-", "\u2212"),
        )
        for run in runs
    )  # fmt: skip
    columns = ("run", *variables, "measured", "fitted", "error", f"shift of {name}")
    note = (
        f"{response_in_unit(document)}; error: measured above fitted; shift of {name}:"
        " how far it moves without the row. Outlying rows are marked."
    )
    return Table("Every row", columns, found, frozenset(range(1, len(columns))), flagged, note)


def _variable(variable: str, x: float | None) -> str:
    return MISSING if x is None else format_power(x) if variable == "C" else format_count(x)


def _ids(document: Document, kind: str) -> Sequence[str]:
    found = document["certificate"][kind]
    return found["run_ids"] if found else ()


def left_out_rows(document: Document) -> Table | None:
    """Return the rows that were not fitted, each with its reason."""
    left = document["left_out"]
    if not left:
        return None
    return Table("Left out", ("run", "reason"), tuple((gone["run_id"], gone["reason"]) for gone in left))
