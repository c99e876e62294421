"""The summary of a report in sentences."""

import math

from lora_jax.report.kit.numbers import format_count, format_interval, format_loss, format_percent
from lora_jax.report.sweep.rows import loss_of, unit_of
from lora_jax.scaling.sweep_results import JOINT, SweepReport
from lora_jax.scaling.verdict import Level

_SUBJECTS = {"alpha_N": ("parameters", "N"), "alpha_D": ("training tokens", "D"), "alpha_C": ("compute", "C")}

ALONE = (
    "`fit --law NAME` fits one law to every row. Here the largest cell is left out, and L(N), L(D) and L(C)"
    " go through the means of some cells, so their numbers differ; on the same rows they are the same."
)


def summarise(fits: SweepReport) -> list[str]:
    """Return paragraphs: the exponents, how N* and D* grow, and whether the held-out cell was predicted."""
    return [
        p
        for p in (_exponents(fits), _joint_law(fits), _frontier(fits), _heldout(fits), _noise(fits), ALONE)
        if p
    ]


def headline(fits: SweepReport) -> str:
    """Return the verdict in one line: "believe it: ...", "be careful: ..." or worse, and why.

    It is about L(N,D) where that was fitted (`SweepReport.verdict`), and counts the other laws that have
    doubts. Without any fit it says which law lacks what.
    """
    verdict = fits.verdict
    if verdict is None:
        lacking = [line.rstrip(".") for line in fits.warnings if "fitted: " in line]
        return "no law can be fitted to so few runs: " + "; ".join(lacking)
    level, reasons = verdict.level, list(verdict.doubts)
    if level is Level.DO_NOT_BELIEVE:
        return f"{level}: {_join(list(fits.unconverged))} did not converge"
    if verdict.is_believed:
        return f"{level}: {_believed(fits)}"
    more = f", and {len(reasons) - 1} more, below" if len(reasons) > 1 else ""
    return f"{level}: {reasons[0]}{more}"


def _believed(fits: SweepReport) -> str:
    """Return why a sweep is believed, and which of its other laws are not."""
    n = len(fits.fits)
    if fits.joint is None:
        return f"no check of the {n} fits warns"
    said = f"no check of {JOINT} warns, and it predicts the held-out cell {_how_well(fits)}"
    if not fits.doubted:
        return f"{said}; nor does one of the {n - 1} laws along one axis"
    return f"{said}; of the {n - 1} laws along one axis, {len(fits.doubted)} have doubts, below"


def _how_well(fits: SweepReport) -> str:
    """Return how far off the prediction is, and whether the measurement lies in its interval."""
    cell = fits.heldout_cell
    said = cell.predicted_by(JOINT)
    if said is None or said.ci95 is None:
        return "within 3 %"
    side = _side(cell.measured, said.ci95)
    return f"within 3 % ({format_percent(said.relative_error)}, {side} its interval)"


def _side(measured: float, interval: tuple[float, float] | None) -> str:
    low, high = interval or (math.nan, math.nan)
    return "inside" if low <= measured <= high else "outside"


def _exponents(fits: SweepReport) -> str:
    parts, absent, stuck = [], [], []
    for name, (subject, letter) in _SUBJECTS.items():
        number = fits.exponents.get(name)
        if number is None:
            absent.append(f"L({letter})")
            continue
        value, interval = format_interval(number)
        if number.at_bound is not None and number.at_bound.value is not None:
            stuck.append(f" {name} is at its bound ({value.partition(',')[0]}), which is no measurement.")
            continue
        parts.append(f"with {subject} as {letter}^\u2212{value} (95 % interval {interval})")
    text = f"{loss_of(fits).capitalize()} falls {_join(parts)}." if parts else "No exponent was measured."
    text += "".join(stuck)
    without = [n for n in fits.exponents.values() if n.ci95 is not None and n.ci95[0] <= 0 <= n.ci95[1]]
    if without:
        text += f" Of these, {len(without)} cannot be told from zero."
    if absent:
        text += f" Not fitted: {', '.join(absent)} (see the warnings)."
    return text


def _joint_law(fits: SweepReport) -> str:
    fit = fits.joint
    if fit is None:
        return ""
    said = [f"{n} = {v} ({i})" for n in ("E", "alpha", "beta") for v, i in [format_interval(fit.params[n])]]
    return f"Together, {fit.formula} gives {_join(said)}."


def _frontier(fits: SweepReport) -> str:
    frontier = fits.frontier
    if frontier.a is None:
        return ""
    (a, a_interval), (b, b_interval) = format_interval(frontier.a), format_interval(frontier.b)
    return (
        f"For the least loss at a budget, parameters should grow as C^{a} ({a_interval}) and tokens as"
        f" C^{b} ({b_interval})."
    )


def _heldout(fits: SweepReport) -> str:
    cell = fits.heldout_cell
    said = cell.predicted_by(JOINT)
    where = (
        f"The largest cell (N = {format_count(cell.n_params)}, D = {format_count(cell.n_tokens)})"
        f" was left out of every fit. It measured {format_loss(cell.measured)}{unit_of(fits)}"
    )
    if said is None:
        rest = ", so nothing predicts it" if not cell.predictions else "; the table has the other predictions"
        return f"{where}; L(N,D) was not fitted{rest}."
    error = format_percent(said.relative_error)
    low, high = said.ci95 or (math.nan, math.nan)
    text = (
        f"{where}; L(N,D) predicted {format_loss(said.value)} ({format_loss(low)} to {format_loss(high)}),"
        f" off by {error}: the measurement lies {_side(cell.measured, said.ci95)} the interval."
    )
    if cell.within_3_percent:
        return f"{text} The held-out cell is predicted within 3 %."
    return f"{text} That is more than 3 %: do not extrapolate from these fits."


def _noise(fits: SweepReport) -> str:
    noise = fits.noise
    if noise.sd is None:
        return "No cell is known to have several seeds, so the noise between seeds is not known."
    cells = f"{noise.n_cells} cell" + ("s" if noise.n_cells > 1 else "")
    spread = format_percent(noise.sd, signed=False)
    return f"Between seeds the loss varies by {spread} (standard deviation, {cells} with several seeds)."


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
