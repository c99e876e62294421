"""Which special tokens frame a text. Prompts, continuations, training rows and ends follow one rule.

- A prompt begins with what the tokenizer puts in front of a text, exactly once. A prompt that spells it out
  (a chat template writes <s>) gets no second one. It ends open, whatever the tokenizer puts behind a text.
- A continuation is what follows a prompt: the tokens that it adds to the prompt's.
- A training row is a prompt and a continuation that ends with exactly one end token.
- Generated text stops at every end token that the model's files name.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from lora_jax.errors import LoraJaxError

PROBES = ("a", "0", ".", "the")  # texts that show what a tokenizer puts around a text
ANCHORS = ("a", "\n", "0")  # texts behind which we may encode a continuation


class Frames(Protocol):
    """What framing needs from a tokenizer."""

    @property
    def eos_id(self) -> int | None: ...
    def encode(
        self, text: str, pair: str | None = None, special: bool = True
    ) -> tuple[list[int], list[int]]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@runtime_checkable
class NamesEnds(Protocol):
    """A tokenizer whose folder names the tokens that end a generated text."""

    @property
    def end_ids(self) -> tuple[int, ...]: ...


class OpenPrompt(NamedTuple):
    """A prompt without an end.

    Attributes:
        ids: Its tokens.
        types: Their token types.
        n_front: How many of the first tokens are special tokens.
    """

    ids: list[int]
    types: list[int]
    n_front: int


class Framing:
    """Which special tokens a tokenizer puts around prompts, continuations and training texts.

    Args:
        tokenizer: The tokenizer.
    """

    def __init__(self, tokenizer: Frames) -> None:
        self._tokenizer = tokenizer
        self.front = find_front(lambda text, special: tokenizer.encode(text, special=special)[0])

    @property
    def eos(self) -> int:
        """The token after a completion that has no end of its own.

        Raises:
            LoraJaxError: The tokenizer has no such token.
        """
        if self._tokenizer.eos_id is None:
            raise LoraJaxError(
                "The tokenizer has no end token, which a completion ends with: name its eos token."
            )
        return self._tokenizer.eos_id

    def plain(self, text: str) -> list[int]:
        """Return the tokens of a text, with nothing around it."""
        return self._tokenizer.encode(text, special=False)[0]

    def prompt(self, text: str, *, rendered: bool = False) -> OpenPrompt:
        """Return the tokens of a prompt.

        Args:
            text: The text.
            rendered: Whether a chat template wrote the text. It then holds all of its special tokens already.
        """
        ids, types = self._tokenizer.encode(text, special=False)
        n = len(self.front)
        if ids[:n] == self.front:
            return OpenPrompt(ids, types, n)
        if rendered:
            return OpenPrompt(ids, types, 0)
        return OpenPrompt([*self.front, *ids], [*[0] * n, *types], n)

    def continuation(self, text: str, more: str) -> list[int]:
        """Return the tokens that `more` adds to the tokens of `text`.

        If a token would reach across the border, generation could not produce it. `more` is then encoded by
        itself, as a text that goes on, without the space that SentencePiece writes at the start of a text.
        """
        before, whole = self.plain(text), self.plain(text + more)
        if whole[: len(before)] == before and len(whole) > len(before):
            return whole[len(before) :]
        alone, wanted = self.plain(more), self._tokenizer.decode(whole)
        for ids in (alone, *self._behind_anchors(more)):
            if self._tokenizer.decode([*before, *ids]) == wanted:
                return ids
        return alone

    def _behind_anchors(self, more: str) -> Iterator[list[int]]:
        for anchor in ANCHORS:
            before, whole = self.plain(anchor), self.plain(anchor + more)
            if before and whole[: len(before)] == before:
                yield whole[len(before) :]

    def end(self, continuation: Sequence[int]) -> list[int]:
        """End a continuation with one end token: its own if it has one, otherwise the eos token.

        White space and special tokens after its own end token are left out, because nothing is read after an
        end.

        Raises:
            LoraJaxError: The tokenizer has no eos token.
        """
        eos = self.eos
        ends = {*find_end_ids(self._tokenizer), eos}
        for at, token in enumerate(continuation):
            if token in ends and not self._tokenizer.decode(list(continuation[at + 1 :])).strip():
                return [*continuation[: at + 1]]
        return [*continuation, eos]


def find_front(encode: Callable[[str, bool], list[int]]) -> list[int]:
    """Return the special tokens that a tokenizer puts in front of a text.

    Args:
        encode: Maps (text, whether to add special tokens) to ids.
    """
    for probe in PROBES:
        plain, whole = encode(probe, False), encode(probe, True)
        starts = [i for i in range(len(whole)) if whole[i : i + len(plain)] == plain]
        if plain and starts:
            return whole[: starts[0]]
    return []


def count_doubled(ids: Sequence[int], front: Sequence[int]) -> int:
    """Return how many tokens to drop from the start of a framed text: its front, if it is there twice."""
    n = len(front)
    return n if n and list(ids[:n]) == list(ids[n : 2 * n]) == list(front) else 0


def find_end_ids(tokenizer: Frames) -> tuple[int, ...]:
    """Return the tokens at which generated text stops: those that the model's files name, else the eos."""
    if isinstance(tokenizer, NamesEnds):
        return tokenizer.end_ids
    return () if tokenizer.eos_id is None else (tokenizer.eos_id,)


def choose_end_ids(generation: object, config: object, eos_id: int | None) -> tuple[int, ...]:
    """Return the end tokens at which transformers' generate stops.

    Args:
        generation: `eos_token_id` of generation_config.json: a number, a list of numbers or None.
        config: `eos_token_id` of config.json, in the same form. It counts if `generation` is None.
        eos_id: The tokenizer's eos. It counts if both are None.

    Raises:
        LoraJaxError: An `eos_token_id` has another form.
    """
    for name, found in (("generation_config.json", generation), ("config.json", config)):
        if found is None:
            continue
        listed = found if isinstance(found, list) else [found]
        ids = [one for one in listed if isinstance(one, int) and not isinstance(one, bool)]
        if len(ids) < len(listed):
            raise LoraJaxError(
                f"{name} has the eos_token_id {found!r}, but it must be a token's number or a list of them:"
                " mend it."
            )
        return distinct(ids)
    return () if eos_id is None else (eos_id,)


def distinct(ids: Iterable[int]) -> tuple[int, ...]:
    """Return the ids without repetitions, in order."""
    return tuple(dict.fromkeys(ids))
