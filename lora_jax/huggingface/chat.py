"""A model's chat template: it renders a conversation as the text that the model was trained on.

We render it as transformers does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError

# They stand around what the assistant writes. They are private-use characters, which no text should hold.
START, END = "\U0010fffc", "\U0010fffd"
SPAN = re.compile(f"{START}([^{START}{END}]*){END}")
MARK = re.compile(r"{%-?\s*generation\s*-?%}")
# tokens that a template may name, such as bos_token
TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template.

    Attributes:
        text: The template.
        where: The file that holds it.
        tokens: The special tokens that it may name.
    """

    text: str
    where: str
    tokens: Mapping[str, str]

    def render(self, messages: Sequence[Mapping[str, Any]], is_open: bool) -> str:
        """Return the text of a conversation.

        Args:
            messages: The conversation.
            is_open: Whether the text ends where the assistant answers.

        Raises:
            LoraJaxError: Jinja is missing, or the template refuses the conversation.
        """
        return self._render(messages, is_open, is_marked=False)

    def mark_answers(self, messages: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]] | None:
        """Return which characters of a conversation's text the assistant writes, as [start, end).

        They are what {% generation %} holds. It is None if the template has no such tag.

        Raises:
            LoraJaxError: As for `render`.
        """
        if not MARK.search(self.text):
            return None
        found, n_marks = [], 0
        marked = self._render(messages, is_open=False, is_marked=True)
        for span in SPAN.finditer(marked):
            start = span.start() - n_marks
            found.append((start, start + len(span[1])))
            n_marks += 2
        return found

    def _render(self, messages: Sequence[Mapping[str, Any]], is_open: bool, is_marked: bool) -> str:
        template = _compile(self.text, self.where, is_marked)
        try:
            return template.render(messages=list(messages), add_generation_prompt=is_open, **self.tokens)
        except Exception as error:  # a template may raise anything: its own refusals, or a TypeError
            raise LoraJaxError(
                f"The chat template of {self.where} does not render the conversation"
                f" {str(list(messages))[:120]} ({error}): write it as that template wants it."
            ) from None


def find_template(folder: Path, config: Mapping[str, Any]) -> ChatTemplate | None:
    """Find a folder's template: chat_template.jinja, otherwise chat_template of tokenizer_config.json.

    Args:
        folder: The model's folder.
        config: tokenizer_config.json. If it has several named templates, we take the one called "default".
    """
    tokens = {f"{name}_token": _content(config.get(f"{name}_token")) for name in TOKENS}
    named = {name: token for name, token in tokens.items() if token is not None}
    path = folder / "chat_template.jinja"
    if path.is_file():
        return ChatTemplate(path.read_text(encoding="utf-8"), str(path), named)
    found = config.get("chat_template")
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}.get("default")
    where = str(folder / "tokenizer_config.json")
    return ChatTemplate(found, where, named) if isinstance(found, str) else None


def _content(token: Any) -> str | None:
    return token["content"] if isinstance(token, dict) else token


@lru_cache(maxsize=8)
def _compile(text: str, where: str, is_marked: bool) -> Any:
    """Return a template with the sandbox and functions that transformers gives it.

    Args:
        text: The template.
        where: The file that holds it.
        is_marked: Whether it writes START and END around what {% generation %} holds.
    """
    try:
        import jinja2
        from jinja2 import nodes
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise LoraJaxError(
            f"The chat template of {where} is rendered by the package jinja2, which is not installed: pip"
            " install 'lora-jax[chat]'."
        ) from None

    class Generation(Extension):
        """{% generation %} marks what the assistant says."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

        def _write(self, caller: Any) -> str:
            return f"{START}{caller()}{END}" if is_marked else caller()

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    place = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    place.filters["tojson"] = to_json
    place.globals["raise_exception"] = refuse
    place.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return place.from_string(text)
    except jinja2.TemplateError as error:
        raise LoraJaxError(f"The chat template of {where} is no Jinja ({error}): mend it.") from None
