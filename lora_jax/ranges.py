"""Ranges: which numbers a field or an option may hold.

Each is declared once and checked where a number enters.

A field is declared as `batch_size: Count` or `Annotated[float, Range(0, 1)]`. `check_fields` checks every
field of a dataclass against its annotation. Call it first in `__post_init__`. Options use the same ranges
(commands/number_options.py). The ends are generous. They only keep out obvious slips, and values that would
silently take a machine's memory or hours.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal

from lora_jax.errors import LoraJaxError, nearest

LONGEST = 40  # characters of a value that an error message shows
EXACT = 10**15  # whole numbers from here on are written as powers


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`.

    Attributes:
        low: The lower end.
        high: The upper end.
        whole: Whether only integers belong to it.
        above: Whether the lower end is left out.
        below: Whether the upper end is left out.
    """

    low: float
    high: float
    whole: bool = False
    above: bool = False
    below: bool = False

    @property
    def words(self) -> str:
        """The range in words, such as "a whole number from 1 to 1,000" or "a number above 0 and below 1"."""
        kind = "a whole number" if self.whole else "a number"
        start = f"above {_spell(self.low)}" if self.above else f"from {_spell(self.low)}"
        joint = "and" if self.above else "to"
        end = f"below {_spell(self.high)}" if self.below else _spell(self.high)
        return f"{kind} {start} {joint} {'at most ' if self.above and not self.below else ''}{end}"

    def holds(self, value: float) -> bool:
        """Return whether a number lies in the range. nan lies in no range."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def check(self, name: str, value: Any, shown: str | None = None) -> Any:
        """Return the value as a Python number.

        Args:
            name: Name of the field or option, for the message.
            value: The value.
            shown: How the user typed it, if they did.

        Raises:
            LoraJaxError: The value is no number in the range.
        """
        number = _plain_number(value, self.whole)
        if number is None or not self.holds(number):
            got = show(value) if shown is None else shown if number is not None else show(shown)
            raise LoraJaxError(f"{name} is {got}, but it must be {self.words}: change it.")
        return number

    def read(self, name: str, text: str) -> Any:
        """Return the number that a text holds.

        Args:
            name: Name of the field or option, for the message.
            text: The text.

        Raises:
            LoraJaxError: The text is no number in the range.
        """
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:  # an integer with more digits than Python reads raises it too
            number = None
        return self.check(name, number, cut(text))


def whole(low: int, high: int) -> Range:
    """Return the range of whole numbers from low to high."""
    return Range(low, high, whole=True)


COUNT = whole(1, 10**9)
CHECK_SEEDS = whole(3, 1000)  # seeds of each model in a coordinate check: fewer give no interval
COUNT_FROM_0 = whole(0, 10**9)
WIDTH = whole(1, 2**24)  # d_model, heads, d_ff, a vocabulary: up to 16,777,216
LENGTH = whole(1, 2**30)  # tokens of a sequence
LAYERS = whole(1, 10_000)
RANK = whole(1, 2**16)
BATCH = whole(1, 2**24)
SEED = whole(0, 2**32 - 1)  # seeds that both JAX's keys and numpy's generators accept
STEPS = whole(0, 10**12)
TOKENS = whole(1, 10**18)
SHARE = Range(0, 1)
PROPER_SHARE = Range(0, 1, above=True, below=True)
BELOW_ONE = Range(0, 1, below=True)  # dropout, Adam's betas, a warmup
POSITIVE_SHARE = Range(0, 1, above=True)
RATE = Range(1e-20, 1e30)  # within float32; a far too large rate diverges, and the record says so
FACTOR = Range(0, 1e6, above=True)
WEIGHT = Range(0, 1e9, above=True)
SMALL = Range(1e-30, 1)  # an epsilon that float32 can hold
FINITE = Range(-1e6, 1e6)
ANY_NUMBER = Range(-1e100, 1e100)  # in a table or a law; products of three are still finite
QUANTITY = Range(1e-100, 1e100)  # in a table's positive columns: FLOPs, parameters, a learning rate
SERVED = Range(0, 1e100)  # inference tokens
REPLICATES = whole(1, 100_000)  # some 50 times the usual number; a million would take minutes and gigabytes
CELL = Range(1e-45, 1e45)  # in a positive column, so that a budget of 60 N D is still a QUANTITY
TEMPERATURE = Range(0, 1e4)
BEAM_WIDTH = whole(1, 256)  # each line has a cache of its own
LENGTH_PENALTY = Range(-10, 10)  # a power of the length, which may be in the thousands
HUBER = Range(1e-12, 1e6)  # delta of the Huber objective, in units of ln loss

Count = Annotated[int, COUNT]
Width = Annotated[int, WIDTH]
Length = Annotated[int, LENGTH]
Layers = Annotated[int, LAYERS]
Rank = Annotated[int, RANK]
Batch = Annotated[int, BATCH]
Seed = Annotated[int, SEED]
Share = Annotated[float, SHARE]
ProperShare = Annotated[float, PROPER_SHARE]
BelowOne = Annotated[float, BELOW_ONE]
Rate = Annotated[float, RATE]
Factor = Annotated[float, FACTOR]
Weight = Annotated[float, WEIGHT]
Small = Annotated[float, SMALL]
Finite = Annotated[float, FINITE]
Std = Annotated[float, Range(0, 1e3)]  # standard deviation of initial weights


def check_fields(config: Any, path: str = "") -> None:
    """Check every field of a dataclass or NamedTuple against its annotation.

    Lists and tables are checked inside.

    In a dataclass, numpy's numbers become Python's, and lists become tuples.

    Args:
        config: The dataclass or NamedTuple.
        path: The section that errors name before the field.

    Raises:
        LoraJaxError: A value has another type, is none of the choices, or is out of its range.
        TypeError: A field of numbers has no range, which is a mistake in the class.
    """
    for name, kind in field_kinds(type(config)).items():
        value = getattr(config, name)
        checked = _check(kind, value, f"{path}.{name}" if path else name)
        if checked is not value and dataclasses.is_dataclass(config):
            object.__setattr__(config, name, checked)


@lru_cache
def field_kinds(owner: type) -> dict[str, Any]:
    """Return the annotation of every field of a dataclass or NamedTuple, with its range."""
    hints = typing.get_type_hints(owner, include_extras=True)
    names = getattr(owner, "_fields", None) or [field.name for field in dataclasses.fields(owner)]
    return {name: hints[name] for name in names}


def split_optional(kind: Any) -> tuple[Any, bool]:
    """Return a kind without None, and whether None was part of it."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind, False
    rest = [inner for inner in typing.get_args(kind) if inner is not type(None)]
    return rest[0] if len(rest) == 1 else kind, len(rest) < len(typing.get_args(kind))


def _check(kind: Any, value: Any, name: str) -> Any:
    kind, may_be_none = split_optional(kind)
    if value is None and may_be_none:
        return None
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return parts[1].check(name, value)
    if origin is Literal:
        if value not in parts:
            choices = " or ".join(map(repr, parts))
            raise LoraJaxError(
                f"{name} is {show(value)}, but it must be {choices}{_nearest_choice(value, parts)}: correct"
                " it."
            )
        return value
    if origin is tuple:
        return _check_tuple(parts, value, name)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise LoraJaxError(
                f"{name} is {show(value)}, but it must be a table, as {{name: value}}: change it."
            )
        return {
            _check(parts[0], key, f"a name in {name}"): _check(parts[1], inner, f"{name}[{show(key)}]")
            for key, inner in value.items()
        }
    if kind in (int, float):
        raise TypeError(f"{name} is a number without a range: declare one (lora_jax/ranges.py)")
    if not isinstance(value, kind):
        told = {bool: "true or false", str: "a text"}.get(kind, f"a {kind.__name__}")
        raise LoraJaxError(f"{name} is {show(value)}, but it must be {told}: change it.")
    return value


def _check_tuple(parts: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise LoraJaxError(f"{name} is {show(value)}, but it must be a list: change it.")
    if parts[-1] is not Ellipsis and len(parts) != len(value):
        raise LoraJaxError(f"{name} is {show(value)}, but it must hold {len(parts)} values: change it.")
    kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
    return tuple(
        _check(kind, v, f"{name}[{i}]") for i, (kind, v) in enumerate(zip(kinds, value, strict=True))
    )


def _plain_number(value: Any, is_whole: bool) -> Any:
    """Return a number, numpy's too, as a Python number. None if it is no number of the kind."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and not is_whole):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not is_whole:
        return float(value)
    return None


def _nearest_choice(value: Any, choices: Sequence[Any]) -> str:
    return nearest(value, choices) if isinstance(value, str) and len(choices) > 3 else ""


def show(value: Any) -> str:
    """Return a value as a message can show it: 10**5000 as "about 10^5000", and a long text cut."""
    if isinstance(value, int) and abs(value) >= EXACT:
        # never use str(value): beyond 4,300 digits Python refuses, and so would a reader
        sign, power = "-" if value < 0 else "", math.floor(abs(value).bit_length() * math.log10(2))
        return f"about {sign}10^{power}"
    try:
        text = " ".join((value if isinstance(value, str) else repr(value)).split())
    except ValueError:  # it holds such an integer
        text = f"a {type(value).__name__}"
    return repr(cut(text)) if isinstance(value, str) else cut(text)


def cut(text: str) -> str:
    """Return a text of at most LONGEST characters. A longer one is cut, and its length is added."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


def _spell(x: float) -> str:
    if isinstance(x, int) or (x.is_integer() and 1e3 <= abs(x) < EXACT):
        return f"{x:,.0f}" if abs(x) < EXACT else f"10^{round(math.log10(x))}"
    return f"{x:g}"
