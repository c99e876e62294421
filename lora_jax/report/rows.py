"""The tables of a report as plain rows of text: one source for the terminal and for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_jax.report.numbers import (
    MISSING,
    format_count,
    format_interval,
    format_loss,
    format_percent,
    format_power,
    format_seconds,
)
from lora_jax.report.results import Results

CONVENTIONS = {
    "n_params": "without embeddings and output head",
    "n_params_with_head": "with the output head",
    "n_params_total": "every weight",
}
INTERVAL = "95 % interval"


@dataclass(frozen=True)
class Table:
    """Columns and rows of text. numeric: columns aligned to the right; flagged: rows to be marked."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    flagged: frozenset[int] = frozenset()
    note: str = ""

    def select(self, names: Sequence[str]) -> "Table":
        """Return the table with these columns only, in this order."""
        at = [self.columns.index(name) for name in names]
        rows = tuple(tuple(row[i] for i in at) for row in self.rows)
        numeric = frozenset(new for new, old in enumerate(at) if old in self.numeric)
        return replace(self, columns=tuple(names), rows=rows, numeric=numeric)


def exponent_rows(fits: Mapping[str, Any]) -> Table:
    """Return the exponents alpha_N, alpha_D, alpha_C with and without floor, then those of L(N,D)."""
    rows, flagged = [], set()
    for fit in fits["fits"]:
        for name, number in fit["params"].items():
            if name in ("alpha", "beta") or name.startswith("alpha_"):
                value, interval = format_interval(number)
                verdict = fit["certificate"]["verdict"]
                if verdict != "believe it":
                    flagged.add(len(rows))
                rows.append((name, value, interval, fit["key"], str(fit["n"]), verdict))
    columns = ("exponent", "value", INTERVAL, "law", "runs", "verdict")
    return Table(
        "Exponents of loss, with intervals and verdicts",
        columns,
        tuple(rows),
        frozenset({1, 4}),
        frozenset(flagged),
    )


def parameter_rows(fits: Mapping[str, Any]) -> Table:
    """Return every fitted parameter with its interval."""
    rows = []
    for fit in fits["fits"]:
        for name, number in fit["params"].items():
            rows.append((fit["key"], fit["formula"], name, *format_interval(number), fit["slice"]))
    columns = ("law", "formula", "parameter", "value", INTERVAL, "fitted to")
    return Table("Fitted parameters", columns, tuple(rows), frozenset({3}), note="Losses in nats per token.")


def certificate_rows(fits: Mapping[str, Any]) -> Table:
    """Return why each fit may be believed, or not."""
    rows, flagged = [], set()
    for i, fit in enumerate(fits["fits"]):
        c, b = fit["certificate"], fit["bootstrap"]
        if c["verdict"] != "believe it":
            flagged.add(i)
        rows.append((
            fit["key"], fit["objective"]["name"], format_power(fit["objective"]["value"]),
            "yes" if c["converged"] else "no",
            *(_digits(c[k]) for k in ("grad_norm", "polish_gain", "condition_number")),
            f"{b['kind']}, {b['n']}" + (f", {b['n_failed']} failed" if b["n_failed"] else ""), c["verdict"],
        ))  # fmt: skip
    columns = (
        "law", "objective", "its value", "converged", "gradient", "polish gain", "condition", "bootstrap",
        "verdict",
    )  # fmt: skip
    note = (
        "gradient: its largest entry at the answer; polish gain: share of the objective that one more step"
        " takes off."
    )
    return Table("Certificates", columns, tuple(rows), frozenset({2, 4, 5, 6}), frozenset(flagged), note)


def _digits(x: float | None) -> str:
    return MISSING if x is None else format_power(x, 2)


def frontier_rows(fits: Mapping[str, Any]) -> Table | None:
    """Return N*, D* and the loss at budgets along the frontier, or None where L(N,D) was not fitted."""
    frontier = fits["frontier"]
    if not frontier["rows"]:
        return None
    rows = []
    for row in frontier["rows"]:
        cells = [format_power(row["flops"])]
        for name in ("n_params", "n_tokens"):
            number = row[name]
            low, high = number["ci95"]
            cells += [format_count(number["value"]), f"{format_count(low)} to {format_count(high)}"]
        rows.append((*cells, *format_interval(row["loss"])))
    a, b = format_interval(frontier["a"]), format_interval(frontier["b"])
    note = (
        f"N* grows as C^{a[0]} ({a[1]}), D* as C^{b[0]} ({b[1]}). Here C = 6ND with N = {fits['n_column']};"
        " the last budgets reach to the held-out cell."
    )
    columns = ("C (FLOPs)", "N*", INTERVAL, "D* (tokens)", INTERVAL, "loss", INTERVAL)
    return Table(
        "Compute-efficient frontier by L(N,D)", columns, tuple(rows), frozenset({0, 1, 3, 5}), note=note
    )


def heldout_rows(fits: Mapping[str, Any]) -> Table:
    """Return what each law said about the held-out cell."""
    cell = fits["heldout_cell"]
    rows = [
        (p["key"], format_loss(p["value"]), _loss_interval(p["ci95"]), format_percent(p["relative_error"]))
        for p in cell["predictions"]
    ]
    flagged = frozenset(i for i, p in enumerate(cell["predictions"]) if abs(p["relative_error"]) > 0.03)
    note = (
        f"Run {cell['run_id']}: N = {format_count(cell['n_params'])}, D = {format_count(cell['n_tokens'])},"
        f" C = {format_power(cell['flops'])} FLOPs, measured {format_loss(cell['measured'])} nats per token."
    )
    columns = ("law", "predicted", INTERVAL, "error")
    return Table(
        "What each law said of the held-out cell", columns, tuple(rows), frozenset({1, 3}), flagged, note
    )


def _loss_interval(ci95: Sequence[float] | None) -> str:
    return f"{format_loss(ci95[0])} to {format_loss(ci95[1])}" if ci95 else "no interval"


def convention_rows(fits: Mapping[str, Any]) -> Table | None:
    """Return alpha_N by what is counted as N, on the same runs."""
    rows = [
        (CONVENTIONS.get(name, str(name)), str(name), *format_interval(number))
        for name, number in fits["by_convention"].items()
    ]
    if not rows:
        return None
    note = "The exponent of L(N) without a floor, on the same runs: what is counted as N moves it."
    columns = ("N is counted", "column", "alpha_N", INTERVAL)
    return Table("alpha_N by counting convention", columns, tuple(rows), frozenset({2}), note=note)


def rate_rows(fits: Mapping[str, Any]) -> Table | None:
    """Return every grid of learning rates, a row each."""
    grids = fits["learning_rate"]["grids"]
    if not grids:
        return None
    rows = [
        (
            format_count(g["n_params"]), format_count(g["n_tokens"]), str(g["seed"]),
            _losses(g),
            f"{g['best']:g}", "yes" if g["at_edge"] else "no",
        )
        for g in grids
    ]  # fmt: skip
    flagged = frozenset(i for i, g in enumerate(grids) if g["at_edge"])
    columns = ("N", "D", "seed", "base rate: held-out loss", "best", "at an edge")
    return Table(
        "Held-out loss by base learning rate", columns, tuple(rows), frozenset({0, 1, 2, 4}), flagged
    )


def _losses(grid: Mapping[str, Any]) -> str:
    pairs = zip(grid["rates"], grid["losses"], strict=True)
    ended = "diverged or halted"
    return ", ".join(f"{rate:g}: {ended if y is None else format_loss(y)}" for rate, y in pairs)


# (quantity, where it is found here, published value, source)
_PUBLISHED = (
    ("alpha_N", "L(N)", "0.076", "Kaplan et al. 2020"),
    ("alpha_D", "L(D)", "0.095", "Kaplan et al. 2020"),
    ("alpha_C", "L(C)", "0.050", "Kaplan et al. 2020"),
    ("alpha", "L(N,D)", "0.34", "Hoffmann et al. 2022"),
    ("beta", "L(N,D)", "0.28", "Hoffmann et al. 2022"),
    ("alpha", "L(N,D)", "0.3473", "Hoffmann's runs, fitted again"),
    ("beta", "L(N,D)", "0.3672", "Hoffmann's runs, fitted again"),
)


def published_rows(fits: Mapping[str, Any]) -> Table:
    """Return the published exponents beside those found here."""
    params = {fit["key"]: fit["params"] for fit in fits["fits"]}
    rows = tuple(
        (name, law, *format_interval(params.get(law, {}).get(name)), value, source)
        for name, law, value, source in _PUBLISHED
    )
    note = (
        "Small models on a small vocabulary and little text are not expected to match these: the published"
        " fits span other sizes, other text and other counts of N and C. They are here for scale."
    )
    columns = ("exponent", "law", "here", INTERVAL, "published", "source")
    return Table("Published exponents, for scale", columns, rows, frozenset({2, 4}), note=note)


def status_of(results: Results) -> dict[str, str]:
    """Return run_id -> "fitted", or why the run was left out of the fits."""
    left = {gone["run_id"]: gone["reason"] for gone in results.fits["left_out"]}
    fitted = {i for fit in results.fits["fits"] for i in fit["run_ids"]}
    status = {}
    for run in results.runs:
        i = run["run_id"]
        if i in left:
            status[i] = left[i]
        elif run["status"] != "done":
            status[i] = run["status"]
        else:
            status[i] = "fitted" if i in fitted else "not in fits.json"
    return status


def run_rows(results: Results, swept: Mapping[str, Mapping[str, str]]) -> Table:
    """Return every run of the store. swept: setting -> run_id -> value, for the settings that differ."""
    status = status_of(results)
    runs = sorted(results.runs, key=lambda r: (r["n_params"], r["n_tokens"], r["seed"], r["run_id"]))
    rows, flagged = [], set()
    for i, r in enumerate(runs):
        reason = status[r["run_id"]]
        if reason == "diverged" and r.get("diverged_at") is not None:
            reason = f"diverged at step {r['diverged_at']}"
        elif reason == "halted" and r.get("halted_at") is not None:
            reason = f"halted at step {r['halted_at']}"
        if reason != "fitted":
            flagged.add(i)
        rows.append((
            r["run_id"], format_count(r["n_params"]), format_count(r["n_tokens"]),
            format_power(r["flops_exact"]),
            format_loss(r["heldout_loss"]), format_loss(r.get("heldout_loss_se")), reason,
            format_loss(r.get("train_loss")), format_loss(r.get("bits_per_byte")),
            *(values[r["run_id"]] for values in swept.values()),
            _digits(r.get("learning_rate")), _seconds(r.get("wall_seconds")),
        ))  # fmt: skip
    columns = (
        "run", "N", "D", "FLOPs", "held-out loss", "± se", "in the fits", "train loss", "bits per byte",
        *swept, "peak rate", "wall time",
    )  # fmt: skip
    numeric = frozenset(range(1, len(columns))) - {columns.index("in the fits")}
    note = "Losses in nats per token; FLOPs counted exactly, attention and output head included."
    return Table("Every run", columns, tuple(rows), numeric, frozenset(flagged), note)


def _seconds(seconds: float | None) -> str:
    return MISSING if seconds is None else format_seconds(seconds)


def warnings_of(fits: Mapping[str, Any]) -> list[str]:
    """Return every warning of the fits once: of the sweep, of the learning rates, of each fit."""
    lines = [*fits["warnings"], *fits["learning_rate"]["warnings"]]
    for fit in fits["fits"]:
        lines += [f"{fit['key']}: {line}" for line in fit["certificate"]["warnings"]]
    return list(dict.fromkeys(lines))
