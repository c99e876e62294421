"""Units that a column's name states, and formulas of a mapping: `params (M)`, `log10(flops)`, "x*1e6"."""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lora_jax.errors import LoraJaxError
from lora_jax.scaling.tables.number_text import read_number

COUNTS = {
    "k": 1e3, "thousand": 1e3, "m": 1e6, "mio": 1e6, "mn": 1e6, "mega": 1e6, "million": 1e6, "b": 1e9,
    "bn": 1e9, "g": 1e9, "giga": 1e9, "billion": 1e9, "t": 1e12, "tn": 1e12, "tera": 1e12, "trillion": 1e12,
}  # fmt: skip
PREFIXES = {
    "": 1.0, "k": 1e3, "kilo": 1e3, "m": 1e6, "mega": 1e6, "g": 1e9, "giga": 1e9, "t": 1e12, "tera": 1e12,
    "p": 1e15, "peta": 1e15, "e": 1e18, "exa": 1e18, "z": 1e21, "zetta": 1e21, "y": 1e24, "yotta": 1e24,
}  # fmt: skip
SECONDS = {"day": 86400.0, "hour": 3600.0, "hr": 3600.0}
_NOUNS = r"(?:model|non[ _-]?embedding)?[ _]*(?:params?|parameters?|tokens?|toks?|flops?|weights)"
_PREFIX = "|".join(sorted((p for p in PREFIXES if p), key=len, reverse=True))
_FLOPS = re.compile(rf"({_PREFIX})?[ _-]?flop'?s?")
_PREFIXED = re.compile(rf"(?<![a-z])(?:{_PREFIX})[ _-]?flop")
# a rate times a time: PF-days, petaflop/s-days, EFLOP/s hours
_RATE_TIMES = re.compile(
    rf"({_PREFIX})[ _-]?f(?:lop'?s?|s)?(?:[ _]?/[ _]?s(?:ec)?|_s|ps)?[ _\-*\u00b7]*(day|hour|hr)s?"
)
_POWER = re.compile(r"(?:10\s*(?:\^|\*\*)\s*\{?(\d{1,2})\}?|1(?:\.0*)?e\+?(\d{1,2}))")
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "0123456789")


@dataclass(frozen=True)
class Unit:
    """What a cell x stands for: factor * x, or factor * base**x if it is a logarithm.

    Attributes:
        factor: The factor.
        base: Base of the logarithm. None if there is none, nan if the name says "log" without a base.
    """

    factor: float = 1.0
    base: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a cell stands for itself."""
        return self.factor == 1 and self.base is None

    def value(self, numbers: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Return the quantities that numbers of any shape stand for.

        They are infinite if a float overflows.
        """
        with np.errstate(over="ignore"):
            there = np.asarray(numbers, dtype=np.float64)
            return self.factor * (there if self.base is None else self.base**there)

    def formula(self, column: str) -> str:
        """Return the unit as a mapping writes it, such as "params (M)*1e6"."""
        power = {None: column, 10.0: f"10**{column}", 2.0: f"2**{column}", math.e: f"e**{column}"}
        text = power.get(self.base, f"10**{column}")
        return text if self.factor == 1 else f"{text}*{format_factor(self.factor)}"


PLAIN = Unit()


def has_prefixed_flops(column: str) -> bool:
    """Return whether a name means GFLOPs or the like, and not PF-days."""
    name = column.lower()
    return bool(_PREFIXED.search(name)) and not _RATE_TIMES.search(name)


def format_factor(factor: float) -> str:
    """Return a factor as people type it: 1e6, 8.64e19."""
    power = round(math.log10(factor))
    return f"1e{power}" if math.isclose(factor, 10.0**power) else f"{factor:.6g}".replace("e+", "e")


def read_factor(text: str, flops: bool = False) -> float | None:
    """Return the factor that a unit states, such as "M", "millions of tokens", "x1e9" or "PF-days".

    Args:
        flops: Whether the quantity is C. Its units may be FLOPs with a prefix, or a rate times a time.

    Returns:
        The factor. None if the text is no unit.
    """
    unit = text.strip().lower()
    if flops:
        found = _RATE_TIMES.fullmatch(unit)
        if found is not None:
            return PREFIXES[found[1]] * SECONDS[found[2]]
        found = _FLOPS.fullmatch(unit)
        if found is not None:
            return PREFIXES[found[1] or ""]
    unit = re.sub(r"^(?:in\s+|[x\u00d7*]\s*)", "", unit)
    power = re.match(r"10([\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)", unit)
    if power is not None:
        unit = "10^" + power[1].translate(_SUPERSCRIPTS) + unit[power.end() :]
    unit = (
        re.sub(rf"(?<=[\w}}])[ _]*(?:of[ _]+)?{_NOUNS}$", "", unit) if not re.fullmatch(_NOUNS, unit) else ""
    )
    if unit in ("", "#"):
        return 1.0
    found = _POWER.fullmatch(unit)
    if found is not None:
        return 10.0 ** int(found[1] or found[2])
    if flops and unit in PREFIXES:
        return PREFIXES[unit]
    return COUNTS.get(unit) or COUNTS.get(unit.removesuffix("s"))


def parse_formula(text: str, columns: list[str]) -> tuple[str, Unit | None] | None:
    """Return the column that a mapping names and the unit that it states. None if it names no column.

    "params (M)" states no unit of its own, so its unit is None. "params (M)*1e6", "1e6*size", "steps/1e3" and
    "10**lg" state one. Names may have stars and brackets in them, so the longest text that is a column's name
    counts.

    Args:
        text: The mapping's text.
        columns: Names of the file's columns.
    """
    text = text.strip()
    if text in columns:
        return text, None
    factor, rest = 1.0, text
    while True:
        power = re.fullmatch(r"(10|2|e)\s*(?:\*\*|\^)\s*(.+)", rest)
        if power is not None:
            name = power[2].strip()
            name = name if name in columns else name.removeprefix("(").removesuffix(")").strip()
            if name in columns:
                return name, Unit(factor, math.e if power[1] == "e" else float(power[1]))
        times = re.fullmatch(r"(.+?)\s*([*/])\s*([^*/]+)", rest)
        number = None if times is None else read_number(times[3])
        if times is not None and number is not None and number > 0 and not times[1].endswith("*"):
            factor, rest = factor * number if times[2] == "*" else factor / number, times[1]
        else:
            first = re.fullmatch(r"([^*/]+?)\s*\*\s*(?!\*)(.+)", rest)
            number = None if first is None else read_number(first[1])
            if first is None or number is None or not number > 0:
                return None
            factor, rest = factor * number, first[2]
        if rest in columns:
            return rest, Unit(factor)


def refuse_log(source: str, column: str, ours: str) -> LoraJaxError:
    """Return the error for a logarithm whose base is unknown."""
    return LoraJaxError(
        f"{source}, column {column!r}, is a logarithm to a base that it does not say: write"
        f" --map {ours}='10**{column}', or 2** or e**."
    )
