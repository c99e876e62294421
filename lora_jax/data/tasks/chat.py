"""Conversations: what was said before an answer, which the base's own chat template renders as its prompt.

A task is read without a model, so that a conversation stays one until its tokens are made.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lora_jax.data.tasks.cells import Record, Table
from lora_jax.data.tasks.task import Row
from lora_jax.errors import LoraJaxError, nearest

Message = dict[str, Any]
SHOWN = ("system", "developer", "user")  # whose words every template has to show as they are
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
KNOWN = ("system", "developer", "user", "assistant", "tool", "function", "ipython")  # of templates in use
NOTE = (
    "messages: every answer of the assistant is an example, whose prompt is what was said before it, as the"
    " base's chat template renders it"
)


@runtime_checkable
class ChatTokenizer(Protocol):
    """A tokenizer with a chat template; is_open: whether the text is to be answered by the assistant."""

    def render(self, messages: Sequence[Message], is_open: bool) -> str: ...
    def mark_answers(self, messages: Sequence[Message]) -> list[tuple[int, int]] | None: ...


class Turn(NamedTuple):
    """An answer as the template writes it, and all that stands before it.

    is_marked: the template says itself what the assistant writes, by {% generation %}; then nothing is added.
    """

    before: str
    answer: str
    is_marked: bool


class Conversation(str):
    """Messages before an answer, as JSON text: equal texts are equal conversations."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Conversation":
        return cls(json.dumps(list(messages), ensure_ascii=False))

    @property
    def messages(self) -> list[Message]:
        return json.loads(self)

    @property
    def opening(self) -> "Conversation":
        """What was said before the first answer: later answers of one conversation have it in common."""
        messages = self.messages
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        return Conversation.of(messages[: answers[0]] if answers else messages)


def render_prompt(conversation: Conversation, tokenizer: object) -> str:
    """Return the text that the assistant is to answer; LoraJaxError without a chat template."""
    return _require(tokenizer).render(conversation.messages, is_open=True)


def render_turn(conversation: Conversation, answer: str, tokenizer: object) -> Turn:
    """Return an answer as the chat template writes it after the prompt, its end included.

    The answer is what the template marks with {% generation %}. If it marks nothing, it is the difference
    between the text with the answer and the prompt.

    Raises:
        LoraJaxError: a template that writes what came before otherwise once there is an answer, that leaves
            out what somebody said, or that marks another answer than the last.
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

    columns: those that together hold a conversation, as ("messages",) or ("prompt", "completion").

    Raises:
        LoraJaxError: messages without role and text, tools, a conversation without an answer.
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
            f"{record.where} has {str(listed)[:60]!r} in {column!r}, wanted is a list of messages: mend it."
        )
    return [_read_message(record, column, message) for message in listed]


def _read_message(record: Record, column: str, message: Any) -> Message:
    """Return a message with role and content; `from` and `value`, as ShareGPT calls them, are these."""
    known = isinstance(message, dict)
    role = (message.get("role") or ROLES.get(str(message.get("from")))) if known else None
    content = message.get("content", message.get("value")) if known else None
    if not isinstance(role, str) or not isinstance(content, str) or not content.strip():
        raise LoraJaxError(
            f"{record.where} has {str(message)[:80]!r} in {column!r}, wanted is a message with a role and a"
            " text as its content: mend it."
        )
    if role not in KNOWN:
        raise LoraJaxError(
            f"{record.where} has the role {role!r} in {column!r}{nearest(role, KNOWN)}, wanted is one of"
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
