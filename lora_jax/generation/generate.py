"""Completions of prompts of unequal length, several at a time. Each can use an adapter of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.errors import LoraJaxError
from lora_jax.generation.common_prefix import count_common, read_common
from lora_jax.generation.decode import Kind, Writing, compile_decoding
from lora_jax.generation.engine import Engine, Weights
from lora_jax.generation.sampling import GREEDY, Sampling, make_sampling_arrays
from lora_jax.generation.shapes import Tokens, bucket_length, bucket_rows, bucket_slots, pad_in_front
from lora_jax.model.cache import EMPTY, Cache

STEPS_PER_YIELD = 16  # how many tokens we write before we look for a stop string again
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Completion:
    """What was written after a prompt.

    Attributes:
        tokens: The new tokens, without the token that ends a text.
        finish: Why it ended: "end" by such a token, "stop" by a stop string (its tokens are kept), otherwise
            "length".
    """

    tokens: list[int]
    finish: Literal["length", "end", "stop"]


class Wanted(NamedTuple):
    """What is wanted for every row.

    Attributes:
        n_new: Largest number of new tokens.
        sampling: How tokens are drawn.
        end_ids: Tokens that end a text.
        stop: Strings that end a text. We look for them in what `decode` makes of the new tokens.
        decode: Maps new tokens to text.
    """

    n_new: int
    sampling: Sampling
    end_ids: Sequence[int]
    stop: Sequence[str]
    decode: Decode | None


class Lines(NamedTuple):
    """The prompts of a batch.

    Attributes:
        prompts: Token ids of each prompt, without the first n_before.
        numbers: Number of each prompt, which its random draws depend on.
        adapters: Index of each prompt's adapter. None takes adapter 0.
        before: The cache of the first tokens, which all prompts share and which were read already.
        n_before: How many tokens it holds.
    """

    prompts: Sequence[Tokens]
    numbers: Sequence[int]
    adapters: Sequence[int] | None
    before: Cache | None = None
    n_before: int = 0


def generate(
    engine: Engine,
    prompts: Sequence[Tokens],
    n_new: int,
    *,
    sampling: Sampling = GREEDY,
    end_ids: Sequence[int] = (),
    stop: Sequence[str] = (),
    decode: Decode | None = None,
    adapters: Sequence[int] | None = None,
    batch_size: int = 32,
    reuse: bool = True,
    say: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> list[Completion]:
    """Complete prompts of token ids.

    Prompts of similar length are read together.

    Args:
        engine: The model.
        prompts: Token ids of each prompt.
        n_new: Largest number of new tokens. A completion also ends if the context is full.
        sampling: How tokens are drawn. The default always takes the likeliest.
        end_ids: Tokens that end a text.
        stop: Strings that end a text. We look for them in the text of the new tokens, so they need `decode`.
        decode: Maps new tokens to text.
        adapters: Index of each prompt's adapter.
        batch_size: Prompts in a batch.
        reuse: Whether to read the common beginning of all prompts only once. This needs one adapter for all
            prompts and no `no_repeat`. The tokens are the same, up to ties within rounding.
        say: Called with (prompts done, total) after each batch.

    Returns:
        A completion for each prompt.

    Raises:
        LoraJaxError: A prompt is empty or fills the context, or a number is out of its range.
    """
    wanted = Wanted(n_new, sampling, end_ids, stop, decode)
    check(engine, prompts, wanted)
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable").tolist()
    found: dict[int, Completion] = {}
    may_share = reuse and engine.n_adapters == 1 and sampling.no_repeat is None
    n_common = count_common(prompts) if may_share else 0
    before = read_common(engine, engine.weights_with(0), prompts[0][:n_common]) if n_common else None
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        chosen = None if adapters is None else [adapters[number] for number in numbers]
        lines = Lines([prompts[number][n_common:] for number in numbers], numbers, chosen, before, n_common)
        for completions in write(
            engine, lines, bucket_rows(len(numbers), batch_size), wanted, STEPS_PER_YIELD
        ):
            found |= dict(zip(numbers, completions, strict=True))
        say(len(found), len(prompts))
    return [found[number] for number in range(len(prompts))]


def check(engine: Engine, prompts: Sequence[Tokens], wanted: Wanted) -> None:
    """Refuse prompts and settings that `generate` refuses.

    Raises:
        LoraJaxError: As `generate` raises it.
    """
    wanted.sampling.check()
    if wanted.n_new < 1:
        raise LoraJaxError(f"{wanted.n_new} new tokens are asked for, but at least 1 must be: raise it.")
    if wanted.stop and wanted.decode is None:
        raise LoraJaxError("stop strings are looked for in text: give `decode`, which makes text of tokens.")
    if not all(wanted.stop):
        raise LoraJaxError("a stop string is empty, but it must have a character: leave it out.")
    check_prompts(engine, prompts)


def check_prompts(engine: Engine, prompts: Sequence[Tokens]) -> None:
    """Refuse an empty prompt, and one that leaves no room for a token.

    Raises:
        LoraJaxError: There is such a prompt.
    """
    for number, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise LoraJaxError(
                f"prompt {number} is empty, but it must have at least one token: write something."
            )
        if len(prompt) >= engine.room:
            raise LoraJaxError(
                f"prompt {number} has {len(prompt)} tokens, but it must have fewer than the {engine.room} of"
                " the model's context, to leave room for a completion: shorten it."
            )


def write(
    engine: Engine, lines: Lines, n_rows: int, wanted: Wanted, n_steps: int
) -> Iterator[list[Completion]]:
    """Complete one batch. Yield the completions after the first token, and again after every n_steps more.

    Args:
        engine: The model.
        lines: The prompts.
        n_rows: Rows of the batch. It may be padded.
        wanted: What is wanted for every row.
        n_steps: Tokens between two yields.
    """
    weights = engine.weights_of(lines.adapters, n_rows)
    arrays = make_sampling_arrays(wanted.sampling, engine.model.vocab_size)
    ends_E = jnp.array([*wanted.end_ids], jnp.int32)
    decoding = compile_decoding(engine.model, engine.method, Kind.of(wanted.sampling))
    logits_BV, writing, first = _begin(engine, lines, n_rows, wanted, weights)
    writing = decoding.begin(logits_BV, writing, arrays, ends_E)
    stopped: dict[int, Completion] = {}
    while True:
        rows_BN, left_B = np.asarray(writing.history_BS)[:, first:], np.array(writing.left_B)
        completions = [_cut_end(row_N, wanted.end_ids) for row_N in rows_BN[: len(lines.prompts)]]
        for row, completion in enumerate(completions):
            if row not in stopped and wanted.stop and wanted.decode is not None:
                tokens = find_stop(completion.tokens, n_steps, wanted.stop, wanted.decode)
                if tokens is not None:
                    stopped[row], left_B[row] = Completion(tokens, "stop"), 0
        yield [stopped.get(row, completion) for row, completion in enumerate(completions)]
        if not left_B.any():
            return
        writing = writing._replace(left_B=jnp.asarray(left_B))
        writing = decoding.go_on(weights, writing, lines.before, jnp.int32(n_steps), arrays, ends_E)


def _begin(
    engine: Engine, lines: Lines, n_rows: int, wanted: Wanted, weights: Weights
) -> tuple[jax.Array, Writing, int]:
    """Read the prompts.

    Return the logits after them, the rows to write, and the slot of their first new token.
    """
    lengths = [len(prompt) for prompt in lines.prompts]
    n_read = bucket_length(max(lengths))
    n_new = np.minimum(wanted.n_new, engine.room - lines.n_before - np.array(lengths))
    n_slots = bucket_slots(n_read + int(n_new.max()))
    n_method = engine.n_before if lines.before is None else 0
    first = n_method + n_read
    tokens_BT, real_BT = pad_in_front(lines.prompts, n_rows, n_read)
    history_BS = np.full((n_rows, n_method + n_slots + 1), EMPTY, np.int32)
    history_BS[:, n_method:first] = np.where(real_BT, tokens_BT, EMPTY)
    left_B, numbers_B = np.zeros(n_rows, np.int32), np.zeros(n_rows, np.int32)
    left_B[: len(lengths)], numbers_B[: len(lengths)] = n_new, lines.numbers
    cache = engine.start(weights, n_rows, n_slots, lines.before)
    logits_BV, cache = engine.read(weights, cache, tokens_BT, real_BT, lines.before)
    history, left, numbers = (jnp.asarray(array) for array in (history_BS, left_B, numbers_B))
    return logits_BV, Writing(cache, history, left, numbers, jnp.int32(0)), first


def _cut_end(row_N: np.ndarray, end_ids: Sequence[int]) -> Completion:
    tokens = row_N[row_N != EMPTY].tolist()
    if tokens and tokens[-1] in end_ids:
        return Completion(tokens[:-1], "end")
    return Completion(tokens, "length")


def find_stop(tokens: list[int], n_last: int, stop: Sequence[str], decode: Decode) -> list[int] | None:
    """Return the tokens up to the one that completes a stop string. None if there is no stop string.

    Args:
        tokens: The new tokens.
        n_last: How many of the last tokens can complete it. We have looked at the others before.
        stop: The stop strings.
        decode: Maps tokens to text.
    """
    if not tokens or not any(text in decode(tokens) for text in stop):
        return None
    for n in range(max(1, len(tokens) - n_last), len(tokens)):
        if any(text in decode(tokens[:n]) for text in stop):
            return tokens[:n]
    return tokens


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return the text before its first stop string."""
    ends = [text.index(one) for one in stop if one in text]
    return text[: min(ends)] if ends else text
