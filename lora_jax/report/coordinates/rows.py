"""A coordinate check as tables and sentences."""

from collections.abc import Sequence

from lora_jax.report.kit.tables import INTERVAL, Table
from lora_jax.scaling.coordinates import (
    TOLERANCE,
    Axis,
    CoordinateReport,
    Judgement,
    Slope,
    settled,
)

NAMES = {"size": "mean |x|", "change": "mean |change of x|", "growth": "spectral norm / that at the start"}
VERDICTS = {
    Judgement.PASS: "pass: nothing changes with {axis} by more than a power of {tolerance:g}",
    Judgement.FAIL: "fail: {failed}",
    Judgement.NOT_TOLD: "undecided: {open} of {n} intervals reach across a power of {tolerance:g}. Add"
    " seeds or sizes",
}


def slope_table(report: CoordinateReport, axis: Axis, steps: Sequence[int] = ()) -> Table:
    """Return the slopes along an axis, those of some steps if they are given."""
    slopes = [s for s in report.slopes if s.axis == axis and (not steps or s.step in steps)]
    rows = tuple(
        (
            slope.site,
            NAMES[slope.quantity],
            str(slope.step),
            f"{slope.slope.value:+.3f}",
            f"{slope.slope.low:+.3f} to {slope.slope.high:+.3f}",
            "undecided" if slope.judgement is Judgement.NOT_TOLD else slope.judgement.value,
        )
        for slope in slopes
    )
    flagged = frozenset(i for i, slope in enumerate(slopes) if slope.judgement is Judgement.FAIL)
    columns = ("site", "quantity", "step", f"slope on ln {axis}", INTERVAL, "judgement")
    return Table(f"Slopes on ln {axis}", columns, rows, frozenset({2, 3}), flagged)


def say_verdict(report: CoordinateReport, axis: Axis) -> str:
    """Return what the check says of an axis in a sentence."""
    slopes = settled([slope for slope in report.slopes if slope.axis == axis])
    failed = [slope for slope in slopes if slope.judgement is Judgement.FAIL]
    worst = max(failed, key=lambda slope: abs(slope.slope.value), default=None)
    words = VERDICTS[report.judgement(axis)].format(
        axis=axis,
        tolerance=TOLERANCE,
        failed="" if worst is None else _say_failure(worst, len(failed), len(slopes)),
        open=sum(slope.judgement is Judgement.NOT_TOLD for slope in slopes),
        n=len(slopes),
    )
    return f"{axis.capitalize()}: {words}."


def _say_failure(worst: Slope, n_failed: int, n: int) -> str:
    what = {"size": "the size", "change": "the change", "growth": "the growth"}[worst.quantity]
    return (
        f"{what} of {worst.site} goes as {worst.axis}^{worst.slope.value:.2f} after step {worst.step}"
        f" ({worst.slope.low:.2f} to {worst.slope.high:.2f}), and {n_failed} of {n} slopes fail"
    )
