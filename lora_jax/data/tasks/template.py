"""Prompt templates: a text with columns of a row in braces."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.errors import LoraJaxError, nearest


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Attributes:
        text: The template.
        parts: Pairs of a literal text and the column after it. The column of the last may be None.
    """

    text: str
    parts: tuple[tuple[str, str | None], ...]

    def fill(self, fields: Mapping[str, str]) -> str:
        """Return the prompt of a row.

        Raises:
            LoraJaxError: The row lacks a column.
        """
        filled = []
        for literal, name in self.parts:
            if name is not None and name not in fields:
                raise LoraJaxError(
                    f"task.template is {self.text!r}, which names the column {name!r} that the task does not"
                    f" have{nearest(name, fields)}: correct it."
                )
            filled += [literal, "" if name is None else fields[name]]
        return "".join(filled)

    def follow(self, answer: str) -> str:
        """Return an answer as it follows the prompt: after a space, unless the prompt ends with one."""
        return answer if self.text[-1:].isspace() else f" {answer}"


def parse_template(text: str) -> Template:
    """Parse a template.

    Raises:
        LoraJaxError: Braces do not pair or hold more than a name, or there are none.
    """
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise LoraJaxError(
            f"task.template is {text!r}, whose braces do not pair ({error}): write a column's name in braces,"
            " and {{ for a brace."
        ) from error
    for _, name, form, conversion in pieces:
        if name is not None and (not name.strip() or form or conversion):
            raise LoraJaxError(
                f"task.template is {text!r}, but braces may hold only the name of a column: correct it."
            )
    if all(name is None for _, name, _, _ in pieces):
        raise LoraJaxError(
            f"task.template is {text!r}, which names no column: put one in braces, as '{{sentence}} It is'."
        )
    return Template(text, tuple((literal, name) for literal, name, _, _ in pieces))
