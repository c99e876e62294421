"""The summary of a report in sentences."""

from collections.abc import Mapping
from typing import Any

from lora_jax.report.numbers import format_count, format_interval, format_loss, format_percent

_SUBJECTS = {"alpha_N": ("parameters", "N"), "alpha_D": ("training tokens", "D"), "alpha_C": ("compute", "C")}


def summarise(fits: Mapping[str, Any]) -> list[str]:
    """Return paragraphs: the exponents, how N* and D* grow, and whether the held-out cell was predicted."""
    return [p for p in (_exponents(fits), _floor(fits), _frontier(fits), _heldout(fits), _noise(fits)) if p]


def headline(fits: Mapping[str, Any]) -> str:
    """Return the verdict on all fits in one line: "believe it: ...", "be careful: ..." or worse, and why."""
    entries = fits["fits"]
    unconverged = [f["key"] for f in entries if not f["certificate"]["converged"]]
    if unconverged:
        return f"do not believe it: {_join(unconverged)} did not converge"
    doubted = [f for f in entries if f["certificate"]["warnings"]]
    reasons = [f"{f['key']}: {f['certificate']['warnings'][0]}" for f in doubted]
    if fits["heldout_cell"]["within_3_percent"] is False:
        reasons.insert(0, "the held-out cell is not predicted within 3 %")
    if not reasons:
        return f"believe it: no check of the {len(entries)} fits warns, and the held-out cell is predicted"
    more = f", and {len(reasons) - 1} more, below" if len(reasons) > 1 else ""
    return f"be careful: {reasons[0]}{more}"


def _exponents(fits: Mapping[str, Any]) -> str:
    parts, absent = [], []
    for name, (subject, letter) in _SUBJECTS.items():
        number = fits["exponents"].get(name)
        if number is None:
            absent.append(f"L({letter})")
            continue
        value, interval = format_interval(number)
        parts.append(f"with {subject} as {letter}^\u2212{value} (95 % interval {interval})")
    text = f"Held-out loss falls {_join(parts)}." if parts else "No exponent was found."
    without = [n for n in fits["exponents"].values() if n and n["ci95"] and n["ci95"][0] <= 0 <= n["ci95"][1]]
    if without:
        text += f" Of these, {len(without)} cannot be told from zero."
    if absent:
        text += f" Not fitted: {', '.join(absent)} (see the warnings)."
    return text


def _floor(fits: Mapping[str, Any]) -> str:
    fit = next((f for f in fits["fits"] if f["key"] == "L(N,D)"), None)
    if fit is None:
        return ""
    said = [
        f"{n} = {v} ({i})" for n in ("E", "alpha", "beta") for v, i in [format_interval(fit["params"][n])]
    ]
    return f"Together, {fit['formula']} gives {_join(said)}."


def _frontier(fits: Mapping[str, Any]) -> str:
    frontier = fits["frontier"]
    if frontier["a"] is None:
        return ""
    (a, a_interval), (b, b_interval) = format_interval(frontier["a"]), format_interval(frontier["b"])
    return (
        f"For the least loss at a budget, parameters should grow as C^{a} ({a_interval}) and tokens as"
        f" C^{b} ({b_interval})."
    )


def _heldout(fits: Mapping[str, Any]) -> str:
    cell = fits["heldout_cell"]
    said = next((p for p in cell["predictions"] if p["key"] == "L(N,D)"), None)
    where = (
        f"The largest cell (N = {format_count(cell['n_params'])}, D = {format_count(cell['n_tokens'])})"
        f" was left out of every fit. It measured {format_loss(cell['measured'])} nats per token"
    )
    if said is None:
        return f"{where}; L(N,D) was not fitted, so nothing predicts it."
    error = format_percent(said["relative_error"])
    low, high = said["ci95"]
    inside = "inside" if low <= cell["measured"] <= high else "outside"
    text = (
        f"{where}; L(N,D) predicted {format_loss(said['value'])} ({format_loss(low)} to {format_loss(high)}),"
        f" off by {error}: the measurement lies {inside} the interval."
    )
    if cell["within_3_percent"]:
        return f"{text} The held-out cell is predicted within 3 %."
    return f"{text} The held-out cell is NOT predicted within 3 %: do not extrapolate from these fits."


def _noise(fits: Mapping[str, Any]) -> str:
    noise = fits["noise"]
    if noise["seed_sd_log_loss"] is None:
        return "No cell is known to have several seeds, so the noise between seeds is not known."
    cells = f"{noise['n_cells']} cell" + ("s" if noise["n_cells"] > 1 else "")
    spread = format_percent(noise["seed_sd_log_loss"], signed=False)
    return f"Between seeds the loss varies by {spread} (standard deviation, {cells} with several seeds)."


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
