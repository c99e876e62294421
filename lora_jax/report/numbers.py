"""Numbers as a person reads them: as many digits as the interval supports, and short powers of ten."""

import math
from typing import Any

MISSING = "\u2013"  # an en dash
Interval = dict[str, Any]  # {"value": v, "se": s, "ci95": [lo, hi]}; se and ci95 may be None


def format_count(x: float) -> str:
    """Return a count with a suffix: 65536 -> "65.5k", 1.3e6 -> "1.3M"."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= 0.9995 * size:
            return f"{x / size:.3g}{suffix}"
    return f"{x:.3g}"


def format_power(x: float, digits: int = 3) -> str:
    """Return a number as 1.23e15 where it is very large or small, else plainly."""
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        return f"{x:.0f}" if abs(x) >= 10**digits else f"{x:.{digits}g}"
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def decimals_of(number: Interval) -> int | None:
    """Return the decimals the interval supports (two digits of its nearer end), None for powers of ten."""
    size = abs(number["value"])
    if not (size == 0 or 1e-3 <= size < 1e5):
        return None
    if not number["ci95"]:
        return 3
    low, high = number["ci95"]
    # The nearer end decides, as long as it is not the value itself: 0.084 (0.045 to 3.600).
    half = max(min(number["value"] - low, high - number["value"]), (high - low) / 200)
    if not half > 0 or not math.isfinite(half):
        return 4
    if max(abs(low), abs(high)) >= 1e5:
        return None
    return max(0, min(9, 1 - math.floor(math.log10(half))))


def format_interval(number: Interval | None) -> tuple[str, str]:
    """Return (value, interval) as text, such as ("0.341", "0.330 to 0.352"); a missing one is an en dash."""
    if number is None:
        return MISSING, MISSING
    decimals = decimals_of(number)

    def show(x: float) -> str:
        if decimals is None or (x != 0 and abs(x) < 0.5 * 10**-decimals):
            return format_power(x)
        return f"{x:.{decimals}f}"

    if not number["ci95"]:
        return show(number["value"]), "no interval"
    low, high = number["ci95"]
    return show(number["value"]), f"{show(low)} to {show(high)}"


def format_loss(loss: float | None) -> str:
    """Return a loss in nats per token with four decimals; a run without one shows an en dash."""
    return MISSING if loss is None else f"{loss:.4f}"


def format_percent(fraction: float | None, signed: bool = True) -> str:
    """Return a fraction in percent, such as "+0.52 %"."""
    if fraction is None:
        return MISSING
    text = f"{100 * fraction:+.2f} %" if signed else f"{100 * fraction:.2f} %"
    return text.replace("-", "\u2212")


def format_seconds(seconds: float) -> str:
    """Return a duration, such as "42 s", "3 min 20 s", "1 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.2g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
