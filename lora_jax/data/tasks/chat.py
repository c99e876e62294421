"""Conversations: what was said before an answer. The base's chat template renders it as the prompt.

We read a task without a model. So a conversation stays one until its tokens are made.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lora_jax.data.tasks.cells import Record, Table
from lora_jax.data.tasks.task import Row
from lora_jax.errors import LoraJaxError, nearest

Message = dict[str, Any]
SHOWN = ("system", "developer", "user")  # every template has to show the words of these roles as they are
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
KNOWN = (
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
    "ipython",
)  # roles of known templates
NOTE = (
    "messages: every answer of the assistant is an example, whose prompt is what was said before it, as the"
    " base's chat template renders it"
)


@runtime_checkable
class ChatTokenizer(Protocol):
    """A tokenizer with a chat template."""

    def render(self, messages: Sequence[Message], is_open: bool) -> str:
        """Return the text of messages. If `is_open`, the assistant is to answer it."""
        ...

    def mark_answers(self, messages: Sequence[Message]) -> list[tuple[int, int]] | None:
        """Return start and end of each answer in the text. None if the template marks nothing."""
        ...


class Turn(NamedTuple):
    """An answer as the template writes it, and everything before it.

    Attributes:
        before: What stands before the answer.
        answer: The answer.
        is_marked: Whether the template itself marks what the assistant writes, by {% generation %}. Then
            nothing is added.
    """

    before: str
    answer: str
    is_marked: bool


class Conversation(str):
    """Messages before an answer, as JSON text. Equal texts are equal conversations."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Conversation":
        """Return the conversation of some messages."""
        return cls(json.dumps(list(messages), ensure_ascii=False))

    @property
    def messages(self) -> list[Message]:
        """The messages."""
        return json.loads(self)

    @property
    def opening(self) -> "Conversation":
        """What was said before the first answer. Later answers of one conversation have it in common."""
        messages = self.messages
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        return Conversation.of(messages[: answers[0]] if answers else messages)


def render_prompt(conversation: Conversation, tokenizer: object) -> str:
    """Return the text that the assistant is to answer.

    Raises:
        LoraJaxError: The tokenizer has no chat template.
    """
    return _require(tokenizer).render(conversation.messages, is_open=True)


def render_turn(conversation: Conversation, answer: str, tokenizer: object) -> Turn:
    """Return an answer as the chat template writes it after the prompt, with its end.

    The answer is what the template marks with {% generation %}. If it marks nothing, it is the difference
    between the text with the answer and the prompt.

    Raises:
        LoraJaxError: The template changes the prompt once there is an answer, leaves out what somebody said,
            or marks another answer than the last.
    """
    messages = [*conversation.messages, {"role": "assistant", "content": answer}]
    prompt = render_prompt(conversation, tokenizer)
    whole = _require(tokenizer).render(messages, is_open=False)
    if not whole.startswith(prompt) or len(whole) == len(prompt):
        raise LoraJaxError(
            f"The chat template writes {whole[:200]!r} for a conversation with its answer and, before it,"
            f" {prompt[:200]!r}, which is no beginning of that: write the rows as prompt and completion."
        )
    for message in conversation.messages:
        if message["role"] in SHOWN and message["content"].strip() not in prompt:
            raise LoraJaxError(
                f"The chat template leaves out what the {message['role']} says"
                f" ({message['content'][:60]!r}): write the rows with roles that it shows."
            )
    marked = _require(tokenizer).mark_answers(messages)
    if marked is None:
        return Turn(prompt, whole[len(prompt) :], False)
    if not marked or answer.strip() not in whole[slice(*marked[-1])]:
        raise LoraJaxError(
            f"The chat template has {{% generation %}} without the answer {answer[:60]!r} in it: mend the"
            " template, or take {% generation %} out."
        )
    start, end = marked[-1]
    return Turn(whole[:start], whole[start:end], True)


def _require(tokenizer: object) -> ChatTokenizer:
    if not isinstance(tokenizer, ChatTokenizer):
        raise LoraJaxError(
            "The task holds messages, and the tokenizer has no chat template: take a base that was trained on"
            " conversations, or write the rows as prompt and completion."
        )
    return tokenizer


def read_conversations(table: Table, columns: Sequence[str]) -> tuple[Row, ...]:
    """Return a row for every answer of the assistant.

    Args:
        table: The table.
        columns: The columns that together hold a conversation, such as ("messages",) or ("prompt",
            "completion").

    Raises:
        LoraJaxError: A message has no role or text, there are tools, or a conversation has no answer.
    """
    rows = []
    for record in table.records:
        if record.cells.get("tools"):
            raise LoraJaxError(f"{record.where} has tools, which are not read: take such rows away.")
        messages = [message for column in columns for message in _read_messages(record, column)]
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if not answers:
            raise LoraJaxError(f"{record.where} has no message of the assistant to learn from: take it away.")
        if answers[0] == 0:
            raise LoraJaxError(f"{record.where} begins with the assistant, who answers nothing: mend it.")
        for i in answers:
            fields = {columns[0]: Conversation.of(messages[:i])}
            rows.append(Row(record.number, {**fields}, None, messages[i]["content"]))
    return tuple(rows)


def _read_messages(record: Record, column: str) -> list[Message]:
    listed = record.cells.get(column)
    if not isinstance(listed, list) or not listed:
        raise LoraJaxError(
            f"{record.where} has {str(listed)[:60]!r} in {column!r}, but it must be a list of messages: mend"
            " it."
        )
    return [_read_message(record, column, message) for message in listed]


def _read_message(record: Record, column: str, message: Any) -> Message:
    """Return a message with role and content. ShareGPT calls them `from` and `value`."""
    known = isinstance(message, dict)
    role = (message.get("role") or ROLES.get(str(message.get("from")))) if known else None
    content = message.get("content", message.get("value")) if known else None
    if not isinstance(role, str) or not isinstance(content, str) or not content.strip():
        raise LoraJaxError(
            f"{record.where} has {str(message)[:80]!r} in {column!r}, but it must be a message with a role"
            " and a text as its content: mend it."
        )
    if role not in KNOWN:
        raise LoraJaxError(
            f"{record.where} has the role {role!r} in {column!r}{nearest(role, KNOWN)}, but it must be one of"
            f" {', '.join(KNOWN)}: mend it."
        )
    names = ("role", "content", "from", "value")
    more = {name: value for name, value in message.items() if name not in names and value is not None}
    if more and role == "assistant":
        raise LoraJaxError(
            f"{record.where} has {', '.join(more)} in a message of the assistant, of which the content alone"
            " is learned: take it away."
        )
    return {"role": role, "content": content, **more}
