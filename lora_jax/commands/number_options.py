"""Options that hold numbers: each has a range, and says it in the one sentence that refuses another."""

import argparse
from functools import partial
from typing import Any

from lora_jax.commands.comma_lists import CommaList, add_list
from lora_jax.ranges import Range

__all__ = ["Number", "Quantity", "add_number", "add_numbers"]


class Number:
    """The type of an option whose text is one number of a range."""

    def __init__(self, option: str, within: Range) -> None:
        self.option, self.within = option, within

    def __call__(self, text: str) -> Any:
        """Return the number; raises LoraJaxError, which argparse lets through."""
        return self.within.read(self.option, text)


class Quantity(Number):
    """The type of an option whose number may be written as people do: 7e10, 70B, 1.4T."""

    def __call__(self, text: str) -> Any:
        from lora_jax.commands.table_options import parse_number

        return parse_number(self.option, text, self.within)


def add_number(
    parser: Any, option: str, within: Range, *, is_quantity: bool = False, **others: Any
) -> argparse.Action:
    """Add an option of numbers to a parser or a group of one.

    is_quantity: 70B and 1.4T are numbers too. others: as of `add_argument`.
    """
    kind = Quantity if is_quantity else Number
    return parser.add_argument(option, type=kind(option, within), **others)


def add_numbers(parser: Any, option: str, within: Range, example: str, **others: Any) -> argparse.Action:
    """Add an option of numbers of one range, with commas between them. others: as of `add_argument`."""
    return add_list(parser, CommaList(option, example, partial(within.read, option)), **others)
