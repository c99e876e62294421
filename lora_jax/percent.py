"""How a share is written as a percentage, such as "12 %", "+0.52 %" or "0.034 %"."""


def percent(share: float, decimals: int = 0, *, digits: int | None = None, signed: bool = False) -> str:
    """Return a share as a percentage: 0.5 is "50 %". What is no number stays visible, as "nan %".

    Args:
        share: The share, 1 for all of it.
        decimals: How many decimals the percentage has.
        digits: How many significant digits it has, in place of `decimals`. Zeros at the end are left out.
        signed: Whether a percentage above zero has a plus sign.
    """
    sign, number = "+" if signed else "", 100 * share
    text = f"{number:{sign}.{decimals}f}" if digits is None else f"{number:{sign}.{digits}g}"
    if "e+" in text:  # more digits stand before the point than are asked for
        text = f"{number:{sign}.0f}"
    return f"{text} %"
