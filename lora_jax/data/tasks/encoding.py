"""Examples to tokens: texts and pairs for a classifier, prompts and completions for a language model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from lora_jax.data.tasks.chat import Conversation, render_prompt, render_turn
from lora_jax.data.tasks.task import Example
from lora_jax.errors import LoraJaxError
from lora_jax.framing import Framing, OpenPrompt


class TextTokenizer(Protocol):
    """A tokenizer of the model that is fine-tuned."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def eos_id(self) -> int | None:
        """The token that ends a text. A task of generation needs it."""
        ...

    @property
    def pad_id(self) -> int | None: ...

    def encode(self, text: str, pair: str | None = None, special: bool = True) -> tuple[list[int], list[int]]:
        """Return (ids, token types). `special` adds what the model expects around texts, such as [CLS]."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Encoded:
    """Rows of tokens. A row is one example, or one of its references.

    Attributes:
        kind: "classification" has a text and its label. "generation" has a prompt, a completion and the end
            token, and the completion and the end are predicted. "prompts" is what generation starts from.
        tokens: The tokens of each row, int32.
        types: For each token, which text of a pair it belongs to, int32.
        n_prompt_N: Tokens before the first predicted one, int32. All of them if none is predicted.
        example_N: The example of each row, int32, as an index into the examples that were given.
        labels_N: Labels, int32. None for a task without labels.
        max_tokens: Longest row.
        pad_id: The tokenizer's padding token, or 0. Padding is never seen, so any token serves.
        n_cut: Number of rows that were longer than max_tokens and lost tokens.
    """

    kind: Literal["classification", "generation", "prompts"]
    tokens: tuple[np.ndarray, ...]
    types: tuple[np.ndarray, ...]
    n_prompt_N: np.ndarray
    example_N: np.ndarray
    labels_N: np.ndarray | None
    max_tokens: int
    pad_id: int
    n_cut: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def lengths_N(self) -> np.ndarray:
        """Positions that each row takes in a batch, int32.

        The last token of a completion is only ever a target.
        """
        shift = self.kind == "generation"
        return np.array([len(row) - shift for row in self.tokens], np.int32)

    def describe(self) -> dict[str, object]:
        """Return counts, ready for JSON."""
        lengths_N = np.array([len(row) for row in self.tokens])
        return {
            "kind": self.kind,
            "rows": len(self),
            "tokens": int(lengths_N.sum()),
            "predicted_tokens": int((lengths_N - self.n_prompt_N).sum()),
            "longest": int(lengths_N.max()),
            "mean_length": float(lengths_N.mean()),
            "max_tokens": self.max_tokens,
            "rows_cut": self.n_cut,
        }


def encode_classification(
    examples: Sequence[Example], tokenizer: TextTokenizer, max_tokens: int, n_classes: int | None = None
) -> Encoded:
    """Encode a text, or a text and its pair, with the model's special tokens.

    A row that is too long loses tokens from the end of its longer text, and never a special token.

    Raises:
        LoraJaxError: There are no examples, a text has no tokens, a label is outside 0 to n_classes - 1, or
            max_tokens leaves no room beside the special tokens.
    """
    _refuse_none(examples)
    rows, types, labels, n_cut = [], [], [], 0
    for number, example in enumerate(examples):
        if example.label is None or not 0 <= example.label < (n_classes or example.label + 1):
            classes = "" if n_classes is None else f" of 0 to {n_classes - 1}"
            raise LoraJaxError(
                f"Example {number} ({example.text[:40]!r}) has the label {example.label}, but it must be a"
                f" number{classes}: correct its label, or the model's n_classes."
            )
        ids, kinds = tokenizer.encode(example.text, example.pair)
        if len(ids) > max_tokens:
            kept = keep_within(example, tokenizer, ids, max_tokens)
            ids, kinds = [ids[k] for k in kept], [kinds[k] for k in kept]
            n_cut += 1
        if not ids:
            raise LoraJaxError(f"Example {number} ({example.text[:40]!r}) has no tokens: take it away.")
        rows.append(np.array(ids, np.int32))
        types.append(np.array(kinds, np.int32))
        labels.append(example.label)
    return Encoded(
        kind="classification",
        tokens=tuple(rows),
        types=tuple(types),
        n_prompt_N=np.array([len(row) for row in rows], np.int32),
        example_N=np.arange(len(rows), dtype=np.int32),
        labels_N=np.array(labels, np.int32),
        max_tokens=max_tokens,
        pad_id=tokenizer.pad_id or 0,
        n_cut=n_cut,
    )


def keep_within(example: Example, tokenizer: TextTokenizer, ids: list[int], max_tokens: int) -> list[int]:
    """Return which positions of `ids`, an encoded text or pair, are kept if it is cut to max_tokens.

    The shorter text keeps up to half of the room, and the longer one the rest. This is `longest_first` of the
    tokenizers library.
    """
    first = tokenizer.encode(example.text, special=False)[0]
    second = [] if example.pair is None else tokenizer.encode(example.pair, special=False)[0]
    n_special = len(ids) - len(first) - len(second)
    if max_tokens <= n_special + (example.pair is not None):
        raise LoraJaxError(
            f"task.max_tokens is {max_tokens}, of which the tokenizer's special tokens take {n_special}:"
            " raise it."
        )
    start_1 = _find(first, ids, 0, n_special, example)
    start_2 = _find(second, ids, start_1 + len(first), n_special, example)
    room = max_tokens - n_special
    kept_1, kept_2 = room, 0
    if example.pair is not None:
        kept_short = min(len(first), len(second), room // 2)
        kept_long = room - kept_short
        kept_1, kept_2 = (kept_long, kept_short) if len(first) > len(second) else (kept_short, kept_long)
    cut = {*range(start_1 + kept_1, start_1 + len(first)), *range(start_2 + kept_2, start_2 + len(second))}
    return [position for position in range(len(ids)) if position not in cut]


def _find(part: list[int], ids: list[int], start: int, n_special: int, example: Example) -> int:
    for offset in range(start, start + n_special + 1):
        if ids[offset : offset + len(part)] == part:
            return offset
    raise LoraJaxError(
        f"The text {example.text[:40]!r} is longer than task.max_tokens and cannot be cut: its tokens between"
        " the special ones are not those that it has alone, raise task.max_tokens."
    )


def encode_generation(examples: Sequence[Example], tokenizer: TextTokenizer, max_tokens: int) -> Encoded:
    """Encode one row for every reference: prompt, completion and an end token. The loss is on the last two.

    Generation starts from the same prompt tokens, and the completion's tokens are those that would follow
    (`lora_jax.framing`). A row that is too long loses the start of its prompt, except for special tokens. If
    that would leave no more than one token of the prompt, it loses the end of its completion, with the end
    token.

    Raises:
        LoraJaxError: There are no examples, the tokenizer has no end token, or a prompt or completion has no
            tokens.
    """
    _refuse_none(examples)
    framing = Framing(tokenizer)
    _ = framing.eos  # this refuses a tokenizer without an end token before a row is read
    rows, types, n_prompt, owners, n_cut = [], [], [], [], 0
    for number, example in enumerate(examples):
        for reference in example.references:
            (prompt, kinds, n_special), completion = _encode_row(
                number, example, reference, framing, tokenizer
            )
            if not completion:
                raise LoraJaxError(
                    f"Example {number} ({example.text[:40]!r}) has the completion {reference!r}, which has no"
                    " tokens: fill it or take the row away."
                )
            room = max(max_tokens - len(completion), n_special + 1)
            kept = _keep_end(len(prompt), n_special, room)
            ids = ([prompt[k] for k in kept] + completion)[:max_tokens]
            n_cut += len(ids) < len(prompt) + len(completion)
            if len(kept) >= max_tokens:
                raise LoraJaxError(
                    f"task.max_tokens is {max_tokens}, which leaves no token for a completion: raise it."
                )
            rows.append(np.array(ids, np.int32))
            kinds_of_row = [kinds[k] for k in kept] + [kinds[-1]] * (len(ids) - len(kept))
            types.append(np.array(kinds_of_row, np.int32))
            n_prompt.append(len(kept))
            owners.append(number)
    return Encoded(
        kind="generation",
        tokens=tuple(rows),
        types=tuple(types),
        n_prompt_N=np.array(n_prompt, np.int32),
        example_N=np.array(owners, np.int32),
        labels_N=_labels_of(examples, owners),
        max_tokens=max_tokens,
        pad_id=tokenizer.pad_id or 0,
        n_cut=n_cut,
    )


def _encode_row(
    number: int, example: Example, reference: str, framing: Framing, tokenizer: TextTokenizer
) -> tuple[OpenPrompt, list[int]]:
    """Return a row's prompt, and its completion with an end token. An empty completion stays empty."""
    if not isinstance(example.text, Conversation):
        text, prompt = _encode_prompt(number, example, framing, tokenizer)
        completion = framing.continuation(text, reference)
        return prompt, framing.end(completion) if completion else []
    turn = render_turn(example.text, reference, tokenizer)
    completion = framing.continuation(turn.before, turn.answer)
    if completion and not turn.is_marked:
        completion = framing.end(completion)
    return _open(number, example, framing.prompt(turn.before, rendered=True)), completion


def encode_prompts(examples: Sequence[Example], tokenizer: TextTokenizer, max_tokens: int) -> Encoded:
    """Encode only the prompt of each example, one row each. A prompt that is too long loses its start."""
    _refuse_none(examples)
    framing = Framing(tokenizer)
    rows, types, n_cut = [], [], 0
    for number, example in enumerate(examples):
        _, (prompt, kinds, n_special) = _encode_prompt(number, example, framing, tokenizer)
        kept = _keep_end(len(prompt), n_special, max_tokens)
        n_cut += len(kept) < len(prompt)
        rows.append(np.array([prompt[k] for k in kept], np.int32))
        types.append(np.array([kinds[k] for k in kept], np.int32))
    return Encoded(
        kind="prompts",
        tokens=tuple(rows),
        types=tuple(types),
        n_prompt_N=np.array([len(row) for row in rows], np.int32),
        example_N=np.arange(len(rows), dtype=np.int32),
        labels_N=_labels_of(examples, range(len(rows))),
        max_tokens=max_tokens,
        pad_id=tokenizer.pad_id or 0,
        n_cut=n_cut,
    )


def _encode_prompt(
    number: int, example: Example, framing: Framing, tokenizer: TextTokenizer
) -> tuple[str, OpenPrompt]:
    """Return the text of a prompt and its tokens. A conversation is rendered."""
    is_chat = isinstance(example.text, Conversation)
    text = render_prompt(example.text, tokenizer) if isinstance(example.text, Conversation) else example.text
    return text, _open(number, example, framing.prompt(text, rendered=is_chat))


def _open(number: int, example: Example, prompt: OpenPrompt) -> OpenPrompt:
    if not prompt.ids:
        raise LoraJaxError(
            f"Example {number} has the prompt {example.text!r}, which has no tokens, and nothing is predicted"
            " from nothing: give it a prompt."
        )
    return prompt


def _keep_end(n: int, n_special: int, room: int) -> list[int]:
    """Return which of n positions are kept: all, or the first `n_special` and as many last ones as fit."""
    if n <= room:
        return list(range(n))
    return [*range(n_special), *range(n - (room - n_special), n)]


def _labels_of(examples: Sequence[Example], owners: Sequence[int]) -> np.ndarray | None:
    labels = [examples[owner].label for owner in owners]
    known = [label for label in labels if label is not None]
    return np.array(known, np.int32) if len(known) == len(labels) else None


def _refuse_none(examples: Sequence[Example]) -> None:
    if not examples:
        raise LoraJaxError("There are no examples to encode, the split is empty: give it rows.")
