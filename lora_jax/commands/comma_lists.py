"""Options that hold several values with commas between them. Spaces in their place get one sentence."""

import argparse
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.ranges import show

LISTED = "listed"  # the attribute of the arguments that has the options of this kind
MESH = ("data", "fsdp", "tensor")


class CommaList:
    """The type of an option whose text is values with commas between them.

    Attributes:
        option: Its name.
        example: Its text, as a person would type it.
        read: Makes a value of its text. It raises LoraJaxError if it cannot.
    """

    def __init__(self, option: str, example: str, read: Callable[[str], Any]) -> None:
        self.option, self.example, self.read = option, example, read

    def __call__(self, text: str) -> Any:
        """Return the values as a tuple; raises LoraJaxError, which argparse lets through."""
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise self.refusal(show(text))
        return tuple(self.read(part) for part in parts)

    def refusal(self, got: str) -> LoraJaxError:
        """Return the error that says what the option wants."""
        return LoraJaxError(
            f"{self.option} got {got}, it wants values with commas between them and no spaces, such as"
            f" {self.example}."
        )

    def takes(self, word: str) -> bool:
        """Return whether a word that stands by itself was meant to be one of the values."""
        try:
            self.read(word)
        except LoraJaxError:
            return False
        return "=" not in word


class CommaText(CommaList):
    """The type of such an option of NAME=VALUE, whose text is read later. It stays as it is.

    names: What the values may begin with.
    """

    def __init__(self, option: str, example: str, names: Collection[str]) -> None:
        super().__init__(option, example, str)
        self.names = names

    def __call__(self, text: str) -> str:
        """Return the text; raises LoraJaxError, which argparse lets through."""
        super().__call__(text)
        return text

    def takes(self, word: str) -> bool:
        """Return whether a word that stands by itself was meant to be one of the values."""
        name, equals, _ = word.partition("=")
        return bool(equals) and name in self.names


def add_list(parser: Any, kind: CommaList, **others: Any) -> argparse.Action:
    """Add an option of values with commas between them to a parser or a group of one.

    others: As of `add_argument`.
    """
    parser.set_defaults(**{LISTED: (*(parser.get_default(LISTED) or ()), kind)})
    return parser.add_argument(kind.option, type=kind, **others)


def add_mesh(parser: Any, **others: Any) -> argparse.Action:
    """Add --mesh, which says how the work is split over devices. others: as of `add_argument`."""
    return add_list(parser, CommaText("--mesh", "data=2,fsdp=4", MESH), **others)


def refuse_spaces(words: Sequence[str], rest: Collection[str], arguments: argparse.Namespace) -> None:
    """Refuse a value that stands behind a space where a comma should be, such as `--widths 16 32`.

    Args:
        words: The command line.
        rest: Its words that belong to no option.
        arguments: What was read of it.

    Raises:
        LoraJaxError: Such a value is in `rest`.
    """
    for kind in getattr(arguments, LISTED, ()):
        for i, word in enumerate(words):
            name, equals, value = word.partition("=")
            first, *after = [value, *words[i + 1 :]] if equals else words[i + 1 :] or [""]
            is_ours = len(name) > 2 and kind.option.startswith(name)
            if is_ours and after and after[0] in rest and kind.takes(after[0]):
                raise kind.refusal(f"{show(first)} and then {show(after[0])}")
