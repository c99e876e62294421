"""How likely texts are after other texts. What several of them share in front is read once.

Axes: B batch, T position, V vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.generation.common_prefix import count_common, read_common
from lora_jax.generation.engine import Engine, Weights, compile_programs, extend_rows, read_logits
from lora_jax.generation.shapes import (
    CHUNK,
    bucket_length,
    bucket_rows,
    bucket_slots,
    pad_behind,
    pad_in_front,
)
from lora_jax.model.cache import Cache
from lora_jax.peft.method import MethodConfig

MOST_ROWS = 32
MOST_LOGITS = 2048  # positions whose logits one call computes, padding included
MOST_CACHED = 16_384  # positions of the contexts in a batch


class Request(NamedTuple):
    """A question: how likely is the continuation after the context?

    Both are token ids, and neither is empty.

    Attributes:
        context: The tokens in front.
        continuation: The tokens that follow.
    """

    context: Sequence[int]
    continuation: Sequence[int]


class Likelihood(NamedTuple):
    """How likely a continuation is.

    Attributes:
        logprob: Sum of the log-probabilities of its tokens, in nats.
        n_tokens: How many tokens it has.
        is_greedy: Whether each of them was the most likely one.
    """

    logprob: float
    n_tokens: int
    is_greedy: bool


class Scored(NamedTuple):
    """Scored answers.

    Attributes:
        likelihoods: The likelihoods, in the order of the requests.
        n_tokens_run: Tokens that the model read, without padding.
    """

    likelihoods: list[Likelihood]
    n_tokens_run: int


def score(
    engine: Engine,
    requests: Sequence[Request],
    *,
    reuse: bool = True,
    adapter: int = 0,
    say: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> Scored:
    """Return the likelihood of each request's continuation.

    Args:
        engine: The model.
        requests: Contexts and continuations.
        reuse: Whether to read the longest common beginning of all contexts once, and equal contexts once.
            False reads every request whole. The numbers are the same up to rounding.
        adapter: Index of the adapter that reads.
        say: Called with (requests done, total).

    Raises:
        LoraJaxError: A context or continuation is empty, or the two together exceed the model's context.
    """
    check_requests(engine, requests)
    found: dict[int, Likelihood] = {}
    groups = _group(requests, reuse)
    n_common = count_common([requests[group[0]].context for group in groups]) if reuse else 0
    weights, n_run = engine.weights_with(adapter), n_common
    before = read_common(engine, weights, requests[0].context[:n_common]) if n_common else None
    for batch in _cut_batches(requests, groups, n_common):
        members = [[requests[number] for number in group] for group in batch]
        for row, answers in enumerate(_score_batch(engine, weights, members, n_common, before)):
            found |= dict(zip(batch[row], answers, strict=True))
        n_run += sum(len(group[0].context) - n_common for group in members)
        n_run += sum(len(request.continuation) - 1 for group in members for request in group)
        say(len(found), len(requests))
    return Scored([found[number] for number in range(len(requests))], n_run)


def check_requests(engine: Engine, requests: Sequence[Request]) -> None:
    """Refuse requests that have no likelihood.

    Raises:
        LoraJaxError: A context or continuation is empty, or the two together exceed the model's context.
    """
    for number, (context, continuation) in enumerate(requests):
        for name, tokens in (("context", context), ("continuation", continuation)):
            if len(tokens) == 0:
                raise LoraJaxError(
                    f"the {name} of request {number} has no tokens, but it must have at least one: fill it."
                )
        n = len(context) + len(continuation)
        if n > engine.room + 1:  # the last token is not read, because nothing is asked after it
            raise LoraJaxError(
                f"request {number} has {n} tokens, context and continuation together, but it must have at"
                f" most {engine.room + 1}, the model's context and one after it: shorten it."
            )


def _group(requests: Sequence[Request], reuse: bool) -> list[list[int]]:
    """Group the numbers of requests by equal context.

    Long contexts come first, so that too large ones fail early.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for number, request in enumerate(requests):
        groups[tuple(request.context) if reuse else number].append(number)
    return sorted(groups.values(), key=lambda group: -len(requests[group[0]].context))


def _cut_batches(
    requests: Sequence[Request], groups: Sequence[list[int]], n_common: int
) -> list[list[list[int]]]:
    """Cut groups into batches, within MOST_ROWS, MOST_LOGITS and MOST_CACHED."""
    batches: list[list[list[int]]] = []
    n_own = n_after = 0
    for group in groups:
        own = bucket_length(len(requests[group[0]].context) - n_common)
        after = bucket_length(max(len(requests[number].continuation) for number in group))
        n_own, n_after = max(n_own, own), max(n_after, min(after, CHUNK))
        n_rows = len(batches[-1]) + 1 if batches else 0
        if not 0 < n_rows <= min(MOST_ROWS, MOST_LOGITS // n_after, MOST_CACHED // n_own):
            batches.append([])
            n_own, n_after = own, min(after, CHUNK)
        batches[-1].append(group)
    return batches


def _score_batch(
    engine: Engine, weights: Weights, groups: Sequence[Sequence[Request]], n_common: int, before: Cache | None
) -> list[list[Likelihood]]:
    """Return the likelihoods of each group. Contexts lie side by side, and continuations follow in turns."""
    contexts = [group[0].context[n_common:] for group in groups]
    n_rows = bucket_rows(len(groups), MOST_ROWS)
    n_read = bucket_length(max(len(context) for context in contexts))
    n_more = bucket_length(max(len(request.continuation) for group in groups for request in group))
    cache = engine.start(weights, n_rows, bucket_slots(n_read + n_more), before)
    logits_BV, cache = engine.read(weights, cache, *pad_in_front(contexts, n_rows, n_read), before)
    found: list[list[Likelihood]] = [[] for _ in groups]
    for turn in zip_longest(*groups):
        texts = [() if request is None else request.continuation for request in turn]
        logprob_B, greedy_B = _follow(engine, weights, logits_BV, cache, texts, before)
        for row, text in enumerate(texts):
            if len(text):
                found[row].append(Likelihood(float(logprob_B[row]), len(text), bool(greedy_B[row])))
    return found


def _follow(
    engine: Engine,
    weights: Weights,
    logits_BV: jax.Array,
    cache: Cache,
    texts: Sequence[Sequence[int]],
    before: Cache | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log-probability of each row's text and whether it is the likeliest, both (B,), in chunks."""
    n_rows, longest = len(logits_BV), max(len(text) for text in texts)
    follow = compile_follow(engine.model, engine.method)
    logprob_B, greedy_B = np.zeros(n_rows), np.ones(n_rows, bool)
    for start in range(0, longest, CHUNK):
        is_last = start + CHUNK >= longest
        # The last token of a text is not read, because nothing is asked after it.
        length = bucket_length(longest - start - 1) + 1 if is_last else CHUNK
        chunk = [text[start : start + CHUNK] for text in texts]
        tokens_BT, real_BT = pad_behind(chunk, n_rows, length)
        part_B, is_B, logits_BV, cache = follow(
            weights, logits_BV, cache, tokens_BT, real_BT, before, is_last
        )
        logprob_B, greedy_B = logprob_B + np.asarray(part_B), greedy_B & np.asarray(is_B)
    return logprob_B, greedy_B


@lru_cache(maxsize=16)
def compile_follow(model: ModelConfig, method: MethodConfig | None) -> Callable[..., Any]:
    """Return the program that reads texts (B, T) after a cache. It also needs the last logits of the cache.

    It returns the sum of the texts' log-probabilities and whether all tokens were the likeliest, (B,) each.
    It also returns the next logits and cache, for the next part of the text. The cache that you pass in stays
    valid, so that several texts can follow it.
    """
    hooks = compile_programs(model, method).hooks

    @partial(jax.jit, static_argnums=6)
    def follow(
        weights: Weights,
        logits_BV: jax.Array,
        cache: Cache,
        tokens_BT: jax.Array,
        real_BT: jax.Array,
        before: Cache | None,
        is_last: bool,
    ) -> tuple[jax.Array, jax.Array, jax.Array, Cache]:
        n_read = tokens_BT.shape[1] - is_last
        read_BT = (tokens_BT[:, :n_read], real_BT[:, :n_read])
        x_BTD, cache = extend_rows(model, hooks, weights, cache, *read_BT, before)
        logits_BTV = jnp.concatenate([logits_BV[:, None], read_logits(model, hooks, weights, x_BTD)], axis=1)
        next_BV = logits_BTV[:, -1]
        logits_BTV = logits_BTV[:, : tokens_BT.shape[1]]
        chosen_BT = jnp.take_along_axis(logits_BTV, tokens_BT[..., None], axis=-1)[..., 0]
        logprob_BT = jnp.where(real_BT, chosen_BT - jax.nn.logsumexp(logits_BTV, axis=-1), 0)
        is_likeliest_BT = (logits_BTV.argmax(-1) == tokens_BT) | ~real_BT
        return logprob_BT.sum(1), is_likeliest_BT.all(1), next_BV, cache

    return follow
