"""From the document of one fit to its figures: what each one shows, and what it says in words."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lora_jax.report import comparison_plots, doubt_plots, fit_plots
from lora_jax.report.figures import Drawing
from lora_jax.report.fit_curves import across_of, levels
from lora_jax.report.fit_words import Document
from lora_jax.report.numbers import format_interval, format_percent, format_power

MOST_PAIRS = 4  # of parameters, in the contours
FEWEST_SAMPLES = 20  # replicates that make a cloud


def draw_fit_figures(document: Document) -> list[Drawing]:
    """Draw every figure that the document can carry; what it lacks has none."""
    return [
        *_draw_fit(document), *_draw_misses(document), *_draw_profiles(document), *_draw_contours(document),
        *_draw_influence(document), *_draw_frontier(document),
        *(draw_comparison(document["comparison"]) if document["comparison"] else ()),
    ]  # fmt: skip


def response_of(document: Document) -> str:
    """Return the label of the response, such as "loss (nats per token)"."""
    unit = document["loss_unit"]
    return f"{document['response']} ({unit})" if unit else document["response"]


def _outliers(document: Document, x: str) -> list[tuple[float, float, str]]:
    found = document["certificate"]["outliers"]
    ids = set(found["run_ids"]) if found else set()
    return [(run[x], run["measured"], run["run_id"]) for run in document["runs"] if run["run_id"] in ids]


def _ringed(outliers: Sequence[object]) -> str:
    return " Outlying runs are ringed." if outliers else ""


def _draw_fit(document: Document) -> Iterator[Drawing]:
    variables, runs = document["variables"], document["runs"]
    x = across_of(document)
    outliers = _outliers(document, x)
    if len(variables) == 1:
        if document["band"] is None:
            return
        caption = f"{document['formula']} through {len(runs)} rows, with its 95 % band.{_ringed(outliers)}"
        points = [(run[x], run["measured"]) for run in runs]
        label = f"the law, {_leading(document)}"
        figure = fit_plots.plot_band(x, points, outliers, document["band"], label, response_of(document))
        yield Drawing("fit", f"{document['law']} and its runs", caption, figure)
        return
    first = variables[0]
    points = [(run[x], run["measured"], run[first]) for run in runs]
    found = levels(document) if len(variables) == 2 else []
    curves = [fit_plots.Level(size, across.tolist(), y.tolist()) for size, across, y in found]
    band = _frontier_band(document) if x == "C" else None
    caption = (
        f"{len(runs)} rows, coloured by {first}"
        + (f"; the lines are {document['formula']} at {len(curves)} values of {first}" if curves else "")
        + ("; dashed: the least loss at each compute, with its 95 % band" if band else "")
        + f".{_ringed(outliers)}"
    )
    figure = fit_plots.plot_levels((first, x), points, outliers, curves, band, response_of(document))
    yield Drawing("fit", f"{document['law']} and its runs", caption, figure)


def _frontier_band(document: Document) -> dict[str, list[float]] | None:
    if not document["frontier"]:
        return None
    rows = [row for row in document["frontier"]["rows"] if row["loss"]["ci95"]]
    low, high = ([row["loss"]["ci95"][i] for row in rows] for i in (0, 1))
    return {
        "x": [row["flops"] for row in rows], "loss": [row["loss"]["value"] for row in rows],
        "lo": low, "hi": high,
    }  # fmt: skip


def _leading(document: Document) -> str:
    name = document["leading"]["name"]
    number = document["derived"].get(name) or document["params"].get(name)
    if number is None:
        return f"{name} = {format_power(document['leading']['value'])}"
    value, interval = format_interval(number)
    return f"{name} = {value} ({interval})"


def _draw_misses(document: Document) -> Iterator[Drawing]:
    runs = document["runs"]
    measured, fitted = ([run[key] for run in runs] for key in ("measured", "fitted"))
    residuals = np.log(measured) - np.log(fitted)
    outliers = document["certificate"]["outliers"]
    ids = outliers["run_ids"] if outliers else ()
    named = [i for i, run in enumerate(runs) if run["run_id"] in ids]
    named.sort(key=lambda i: -abs(residuals[i]))
    across = across_of(document)
    shown = dict.fromkeys([*document["variables"], across])
    columns = {v: [run[v] for run in runs] for v in shown}
    figure = fit_plots.plot_misses(
        columns, measured, fitted, {i: runs[i]["run_id"] for i in named}, response_of(document)
    )
    spread = float(np.sqrt(np.mean(residuals**2)))
    said = f"Outlying rows are red ({len(named)}), the farthest by name" if named else "No row is an outlier"
    yield Drawing(
        "residuals", "What the law misses",
        "Measured against fitted, on the line where they agree; then the difference against"
        f" {', '.join(columns)}. Root mean square {format_percent(spread, signed=False)}."
        f" {said}.",
        figure,
    )  # fmt: skip


def _draw_profiles(document: Document) -> Iterator[Drawing]:
    profiles = {name: p for name, p in document["profiles"].items() if len(p["value"]) > 2}
    if not profiles:
        return
    open_ones = [name for name, p in profiles.items() if None in p["ci95"]]
    caption = (
        "How much the objective rises above its minimum when one parameter is held and the others are"
        " refitted. Shaded: the 95 % interval, also written above each panel; the dot is the fit; a flat"
        " curve means that the runs do not know the parameter."
        + (f" Open on one side or both: {', '.join(open_ones)}." if open_ones else "")
    )
    yield Drawing("profiles", "Profiles", caption, doubt_plots.plot_profiles(profiles))


def _draw_contours(document: Document) -> Iterator[Drawing]:
    pairs = pairs_of(document)
    if not pairs:
        return
    best = {name: number["value"] for name, number in document["params"].items()}
    drawn = {name for pair in pairs for name in pair}
    published = {
        d["name"]: {name: p["theirs"] for name, p in d["params"].items() if name in drawn}
        for d in document["differences"]
    }
    figure = doubt_plots.plot_contours(document["samples"], pairs, best, published)
    caption = (
        f"{len(document['samples'][pairs[0][0]])} replicates of the bootstrap, with the contours that hold 50"
        " and 95 % of them; a narrow slanting cloud is a pair that the runs hardly separate."
        + (" Crosses are published constants; a ringed one lies beyond its panel." if published else "")
    )
    yield Drawing("contours", "Pairs of parameters", caption, figure)


def pairs_of(document: Document) -> list[tuple[str, str]]:
    """Return the pairs of parameters worth a panel: exponents with each other, then each other parameter
    with the exponent that it moves with most. A parameter without spread, such as a fixed one, has none."""
    samples = {
        name: np.asarray(x, np.float64) for name, x in document["samples"].items()
        if name in document["params"] and len(x) >= FEWEST_SAMPLES and np.ptp(x) > 0
    }  # fmt: skip
    exponents = [name for name in samples if not document["params"][name]["unit"]]
    pairs = list(combinations(exponents, 2))[:2]
    for name in samples:
        if name not in exponents and exponents:
            partner = max(exponents, key=lambda e: _togetherness(samples[name], samples[e]))
            pairs.append((name, partner))
    return pairs[:MOST_PAIRS]


def _togetherness(coefficient: np.ndarray, exponent: np.ndarray) -> float:
    logs = np.log(coefficient) if coefficient.min() > 0 else coefficient
    return float(abs(np.corrcoef(logs, exponent)[0, 1])) if np.ptp(logs) > 0 else 0.0


def _draw_influence(document: Document) -> Iterator[Drawing]:
    runs = [run for run in document["runs"] if run["influence"] is not None]
    if len(runs) < 2:
        return
    name = document["leading"]["name"]
    variable = "C" if all(run.get("C") is not None for run in runs) else document["variables"][0]
    number: Mapping[str, Any] | None = document["derived"].get(name) or document["params"].get(name)
    shifts = [run["influence"] for run in runs]
    figure = doubt_plots.plot_influence(
        name, shifts, [run["run_id"] for run in runs], variable, [run[variable] for run in runs],
    )  # fmt: skip
    worst = max(runs, key=lambda run: abs(run["influence"]))
    share = format_percent(abs(worst["influence"] / document["leading"]["value"]), signed=False)
    caption = (
        f"How far {name} = {format_power(document['leading']['value'])} moves without each row:"
        f" the {min(len(runs), doubt_plots.MOST_BARS)} rows that move it most, then all {len(runs)}."
        f" The worst, {worst['run_id']}, moves it by {worst['influence']:+.4f} ({share})."
    )
    if number is not None and number["se"] is not None:
        caption += f" The standard error of {name} is {format_power(number['se'], 2)}."
    yield Drawing("influence", "Influence of single rows", caption, figure)


def _draw_frontier(document: Document) -> Iterator[Drawing]:
    if not document["frontier"] or len(document["frontier"]["rows"]) < 2:
        return
    known = [r for r in document["runs"] if all(r.get(v) is not None for v in "CND")]
    runs = {v: [r[v] for r in known] for v in "CND"} if known else {}
    largest = max(runs["C"]) if runs else None
    rows = document["frontier"]["rows"]
    said = [
        f"{n} grows as C^{value} ({interval})"
        for n, key in (("N*", "a"), ("D*", "b"))
        if document["derived"].get(key)
        for value, interval in [format_interval(document["derived"][key])]
    ]
    caption = "The size and tokens of least loss at each compute, with 95 % bands" + (
        f": {', '.join(said)}." if said else "."
    )
    if largest is not None and rows[-1]["flops"] > largest:
        caption += f" Beyond {format_power(largest)} FLOPs, the table's largest run, it is extrapolation."
    yield Drawing(
        "frontier", "Compute-efficient frontier", caption, fit_plots.plot_frontier(rows, runs, largest)
    )


def draw_comparison(comparison: Mapping[str, Any]) -> Iterator[Drawing]:
    """Draw the ranking of `Comparison.to_dict()`, and each prediction against its reach."""
    yield Drawing(
        "ranking", "Which form? Laws by their errors on larger runs",
        "Root mean square error of ln of the response on runs that a law has not seen, best on top.",
        comparison_plots.plot_ranking(comparison),
    )  # fmt: skip
    yield Drawing(
        "reach", "How far ahead the laws see",
        "Predicted over measured response against the compute of the predicted run over the largest fitted.",
        comparison_plots.plot_reach(comparison),
    )  # fmt: skip
