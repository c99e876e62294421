"""Numbers as a person reads them: as many digits as the interval supports, and short powers of ten."""

import math

from lora_jax.estimate import AtBound, Estimate
from lora_jax.percent import percent

MISSING = "\u2013"  # an en dash
LARGEST = 1e299  # the laboratory cuts logarithms at 690: what lies beyond was cut, and is no number to print


def _beyond(x: float | None) -> str | None:
    """Return the text of what is no number to print: missing, undefined, beyond a float; else None."""
    if x is None or math.isnan(x):
        return MISSING
    if abs(x) >= LARGEST:
        return "> 1e299" if x > 0 else "< -1e299"
    return "< 1e-299" if 0 < abs(x) <= 1 / LARGEST else None


def is_number(x: float | None) -> bool:
    """Return whether x is a number that can be printed and drawn: finite, and not one that was cut."""
    return _beyond(x) is None


def format_count(x: float | None) -> str:
    """Return a count with a suffix: 65536 -> "65.5k", 1.3e6 -> "1.3M"; see `format_power` for no number."""
    text = _beyond(x)
    if x is None or text is not None:
        return text or MISSING
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= 0.9995 * size:
            return f"{x / size:.3g}{suffix}"
    return f"{x:.3g}"


def format_power(x: float | None, digits: int = 3) -> str:
    """Return a number as 1.23e15 where it is very large or small, else plainly.

    None and nan are a dash, and what a float cannot hold is "> 1e299".
    """
    text = _beyond(x)
    if x is None or text is not None:
        return text or MISSING
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        return f"{x:.0f}" if abs(x) >= 10**digits else f"{x:.{digits}g}"
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def decimals_of(number: Estimate) -> int | None:
    """Return the decimals the interval supports (two digits of its nearer end), None for powers of ten."""
    if _beyond(number.value) is not None:
        return None
    size = abs(number.value)
    if not (size == 0 or 1e-3 <= size < 1e5):
        return None
    if number.ci95 is None:
        return 3
    low, high = number.ci95
    # The nearer end decides, as long as it is not the value itself: 0.084 (0.045 to 3.600).
    half = max(min(number.value - low, high - number.value), (high - low) / 200)
    if any(_beyond(x) is not None for x in (low, high)) or max(abs(low), abs(high)) >= 1e5:
        return None
    if not half > 0:
        return 4
    return max(0, min(9, 1 - math.floor(math.log10(half))))


def format_interval(number: Estimate | None) -> tuple[str, str]:
    """Return (value, interval) as text, such as ("0.341", "0.330 to 0.352"); a missing one is an en dash.

    What lies at a bound is no measurement, and the bound is printed: ("0, its bound", "0 to 1.80").
    """
    if number is None:
        return MISSING, MISSING
    marks = number.at_bound
    if marks is not None and marks != AtBound():
        return _at_bound(number, marks)
    decimals = decimals_of(number)

    def show(x: float) -> str:
        if decimals is None or _beyond(x) is not None or (x != 0 and abs(x) < 0.5 * 10**-decimals):
            return format_power(x)
        return f"{x:.{decimals}f}"

    if number.ci95 is None:
        ends = number.profile95  # of an interval that is open on a side
        return show(number.value), format_ends(*ends) if ends else "no interval"
    low, high = number.ci95
    return show(number.value), f"{show(low)} to {show(high)}"


def _at_bound(number: Estimate, marks: AtBound) -> tuple[str, str]:
    """Return value and interval as `format_interval`, with the bounds of `marks` in them.

    The middle of the interval decides the digits of one that begins at its own value.
    """
    is_bound, ends = marks.value is not None, number.ci95
    value = number.value if marks.value is None else marks.value
    middle = number.value
    if ends is not None:
        low = ends[0] if marks.low is None else marks.low
        high = ends[1] if marks.high is None else marks.high
        ends = (low, high)
        middle = (low + high) / 2 if is_bound else value
    _, interval = format_interval(Estimate(middle, None, ends, profile95=number.profile95))
    if ends is not None and ends[0] == 0:
        interval = f"0 to {interval.partition(' to ')[2]}"
    shown, _ = format_interval(Estimate(value, None, None if is_bound else ends))
    return (f"{format_power(value)}, its bound" if is_bound else shown), interval


def format_ends(low: float | None, high: float | None) -> str:
    """Return an interval whose ends may be open, such as "below 2.17"."""
    if low is None:
        return "open at both ends" if high is None else f"below {format_power(high)}"
    if high is None:
        return f"above {format_power(low)}"
    return f"{format_power(low)} to {format_power(high)}"


def format_loss(loss: float | None) -> str:
    """Return a loss in nats per token with four decimals; a run without one shows an en dash."""
    return MISSING if loss is None else f"{loss:.4f}" if 1e-3 <= abs(loss) < 1e5 else format_power(loss, 4)


def format_difference(difference: Estimate | None) -> tuple[str, str]:
    """Return the text of a difference and of its interval, every number with its sign."""
    if difference is None:
        return MISSING, MISSING
    value, interval = format_interval(difference)
    return _with_sign(value), " to ".join(_with_sign(end) for end in interval.split(" to "))


def _with_sign(text: str) -> str:
    return text.replace("-", "\u2212") if text.startswith("-") else f"+{text}"


def format_percent(fraction: float | None, signed: bool = True, decimals: int = 2) -> str:
    """Return a fraction in percent, such as "+0.52 %": a dash if it is missing, powers of ten far beyond."""
    if fraction is None or math.isnan(fraction):
        return MISSING
    if abs(fraction) >= 1e4:
        return f"{format_power(100 * fraction, 2)} %".replace("-", "\u2212")
    return percent(fraction, decimals, signed=signed).replace("-", "\u2212")


def format_seconds(seconds: float) -> str:
    """Return a duration, such as "42 s", "3 min 20 s", "1 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.2g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
