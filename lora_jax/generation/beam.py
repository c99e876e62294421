"""Beam search: find the likeliest texts while following a few lines at a time.

Axes: B prompt, W beam, C candidate, S slot, V vocabulary, N new token, E tokens that end a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.generation.engine import Engine, Weights, compile_programs, extend_rows, read_logits
from lora_jax.generation.generate import Completion, check_prompts
from lora_jax.generation.sampling import block_repeats
from lora_jax.generation.shapes import Tokens, bucket_length, bucket_slots, pad_in_front
from lora_jax.model.cache import EMPTY, Cache
from lora_jax.peft.method import MethodConfig
from lora_jax.ranges import BEAM_WIDTH, LENGTH_PENALTY, Count, check_fields


@dataclass(frozen=True, kw_only=True)
class Beam:
    """A search that follows several beams.

    The score of a text is its log-probability / length**length_penalty. The search for a prompt ends when
    `width` texts have ended and the best open beam, if it ended now, would score lower than the worst of
    them. These are the defaults of transformers (early_stopping=False).

    Attributes:
        width: Number of beams.
        length_penalty: Above 0 favours long texts, below 0 short ones. The length counts the new tokens, with
            the one that ends the text.
        no_repeat: If n, no n tokens in a row occur twice. This includes the prompt. None blocks nothing.
    """

    width: Annotated[int, BEAM_WIDTH] = 4
    length_penalty: Annotated[float, LENGTH_PENALTY] = 1.0
    no_repeat: Count | None = None

    def __post_init__(self) -> None:
        check_fields(self, "beam")


class Search(NamedTuple):
    """Open lines, and texts that have ended, best first. The score of a missing one is -inf.

    Attributes:
        cache: The key/value cache, of B * W rows.
        history_BWS: The tokens of the open lines, by slot.
        logprob_BW: Log-probabilities of the open lines, in nats.
        ended_BWN: The texts that have ended, EMPTY behind the end.
        score_BW: Their scores.
        open_B: Whether a prompt's texts may still change.
        n_written: How many tokens are written.
    """

    cache: Cache
    history_BWS: jax.Array
    logprob_BW: jax.Array
    ended_BWN: jax.Array
    score_BW: jax.Array
    open_B: jax.Array
    n_written: jax.Array


def search(
    engine: Engine,
    prompts: Sequence[Tokens],
    n_new: int,
    *,
    beam: Beam,
    end_ids: Sequence[int] = (),
    adapters: Sequence[int] | None = None,
    batch_size: int = 8,
) -> list[Completion]:
    """Complete prompts by beam search.

    Args:
        engine: The model.
        prompts: Token ids of each prompt.
        n_new: Largest number of new tokens.
        beam: The width of the search and how texts are scored.
        end_ids: Tokens that end a text.
        adapters: Index of each prompt's adapter.
        batch_size: Prompts in a batch.

    Returns:
        The best text of each prompt, without the token that ends it.

    Raises:
        LoraJaxError: A prompt is empty, or leaves no room for `n_new` tokens in the model's context.
    """
    check_prompts(engine, prompts)
    for number, prompt in enumerate(prompts):
        if not 1 <= n_new <= engine.room - len(prompt):
            raise LoraJaxError(
                f"{n_new} new tokens are asked for, prompt {number} leaves room for 1 to"
                f" {engine.room - len(prompt)}: change it."
            )
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable").tolist()
    found: dict[int, Completion] = {}
    for first in range(0, len(order), batch_size):
        numbers = order[first : first + batch_size]
        chosen = None if adapters is None else [adapters[number] for number in numbers]
        texts_BN = _search_batch(engine, [prompts[n] for n in numbers], n_new, beam, end_ids, chosen)
        for number, text_N in zip(numbers, texts_BN, strict=True):
            tokens = text_N[text_N != EMPTY].tolist()
            has_ended = bool(tokens) and tokens[-1] in end_ids
            found[number] = Completion(tokens[:-1] if has_ended else tokens, "end" if has_ended else "length")
    return [found[number] for number in range(len(prompts))]


def _search_batch(
    engine: Engine,
    prompts: Sequence[Tokens],
    n_new: int,
    beam: Beam,
    end_ids: Sequence[int],
    adapters: Sequence[int] | None,
) -> np.ndarray:
    """Return the best text of each prompt, (B, N). It is EMPTY behind its end."""
    B, W = len(prompts), beam.width
    n_read = bucket_length(max(len(prompt) for prompt in prompts))
    n_slots = bucket_slots(n_read + n_new)
    tokens_BT, real_BT = pad_in_front(prompts, B, n_read)
    history_BS = np.full((B, engine.n_before + n_slots + 1), EMPTY, np.int32)
    history_BS[:, engine.n_before : engine.n_before + n_read] = np.where(real_BT, tokens_BT, EMPTY)
    weights = engine.weights_of(adapters, B)
    logits_BV, cache = engine.read(weights, engine.start(weights, B, n_slots), tokens_BT, real_BT)
    wide = engine.weights_of([a for a in adapters for _ in range(W)] if adapters else None, B * W)
    shape = Shape(W, max(2, 1 + len(end_ids)) * W, n_new, beam.no_repeat)
    program = compile_search(engine.model, engine.method, shape)
    ends_E = jnp.array([*end_ids], jnp.int32)
    return np.asarray(program(wide, logits_BV, cache, jnp.asarray(history_BS), ends_E, beam.length_penalty))


class Shape(NamedTuple):
    """What a search is compiled for.

    Attributes:
        width: Number of beams.
        n_candidates: Number of candidates, so many that at least `width` of them do not end.
        n_new: Largest number of new tokens.
        no_repeat: If n, no n tokens in a row occur twice.
    """

    width: int
    n_candidates: int
    n_new: int
    no_repeat: int | None


@lru_cache(maxsize=16)
def compile_search(model: ModelConfig, method: MethodConfig | None, shape: Shape):
    """Return the program of a whole search, from the logits after the prompts to the best texts (B, N)."""
    hooks = compile_programs(model, method).hooks
    W = shape.width

    @jax.jit  # do not donate the prompts' cache: it has fewer rows than there are lines
    def run(
        weights: Weights,
        logits_BV: jax.Array,
        cache: Cache,
        history_BS: jax.Array,
        ends_E: jax.Array,
        penalty: jax.Array,
    ) -> jax.Array:
        B = len(logits_BV)

        def step(search: Search) -> Search:
            at = search.cache.n_filled
            tokens_M1 = jax.lax.dynamic_slice_in_dim(search.history_BWS, at, 1, axis=2).reshape(B * W, 1)
            real_M1, tokens_M1 = tokens_M1 != EMPTY, jnp.maximum(tokens_M1, 0)
            x_M1D, cache = extend_rows(model, hooks, weights, search.cache, tokens_M1, real_M1)
            logits_BWV = read_logits(model, hooks, weights, x_M1D).reshape(B, W, -1)
            return _advance(shape, search._replace(cache=cache), logits_BWV, ends_E, penalty)

        start = _start(shape, cache, history_BS)
        first = _advance(shape, start, jnp.repeat(logits_BV[:, None], W, axis=1), ends_E, penalty)
        return jax.lax.while_loop(lambda search: search.open_B.any(), step, first).ended_BWN[:, 0]

    return run


def _start(shape: Shape, cache: Cache, history_BS: jax.Array) -> Search:
    """Return a search that has written nothing.

    All lines of a prompt begin alike, so only one of them counts.
    """
    B, W = len(history_BS), shape.width
    return Search(
        take_rows(cache, jnp.repeat(jnp.arange(B), W)),
        jnp.repeat(history_BS[:, None], W, axis=1),
        jnp.where(jnp.arange(W) == 0, 0.0, -jnp.inf) + jnp.zeros((B, 1)),
        jnp.full((B, W, shape.n_new), EMPTY, jnp.int32),
        jnp.full((B, W), -jnp.inf),
        jnp.ones(B, bool),
        jnp.int32(0),
    )


def _advance(
    shape: Shape, search: Search, logits_BWV: jax.Array, ends_E: jax.Array, penalty: jax.Array
) -> Search:
    """Give every line its next token. We keep the best candidates that go on and the best texts that end."""
    B, W, V = logits_BWV.shape
    at, n = search.cache.n_filled, search.n_written + 1
    logprob_MV = jax.nn.log_softmax(logits_BWV, axis=-1).reshape(B * W, V)
    if shape.no_repeat is not None:
        history_MS = search.history_BWS.reshape(B * W, -1)
        logprob_MV = block_repeats(logprob_MV, history_MS, at, shape.no_repeat)
    total_BX = logprob_MV.reshape(B, W * V) + jnp.repeat(search.logprob_BW, V, axis=1)
    total_BC, index_BC = jax.lax.top_k(total_BX, shape.n_candidates)
    line_BC, token_BC = index_BC // V, (index_BC % V).astype(jnp.int32)
    history_BCS = _take(search.history_BWS, line_BC)
    history_BCS = jax.lax.dynamic_update_slice(history_BCS, token_BC[..., None], (0, 0, at))
    ends_BC = (token_BC[..., None] == ends_E).any(-1) | (n == shape.n_new)

    length = n.astype(jnp.float32) ** penalty
    may_end_BC = ends_BC & (jnp.arange(shape.n_candidates) < W) & search.open_B[:, None]
    score_BC = jnp.where(may_end_BC, total_BC / length, -jnp.inf)
    score_BW, best_BW = jax.lax.top_k(jnp.concatenate([search.score_BW, score_BC], axis=1), W)
    new_BCN = jax.lax.dynamic_slice_in_dim(history_BCS, at - search.n_written, shape.n_new, axis=2)
    ended_BWN = _take(jnp.concatenate([search.ended_BWN, new_BCN], axis=1), best_BW)

    logprob_BW, kept_BW = jax.lax.top_k(jnp.where(ends_BC, -jnp.inf, total_BC), W)
    rows_BW = jnp.arange(B)[:, None] * W + jnp.take_along_axis(line_BC, kept_BW, axis=1)
    open_B = search.open_B & (logprob_BW[:, 0] / length > score_BW[:, -1]) & (n < shape.n_new)
    cache, history_BWS = take_rows(search.cache, rows_BW.reshape(-1)), _take(history_BCS, kept_BW)
    return Search(cache, history_BWS, logprob_BW, ended_BWN, score_BW, open_B, n)


def _take(array_BXN: jax.Array, index_BC: jax.Array) -> jax.Array:
    return jnp.take_along_axis(array_BXN, index_BC[..., None], axis=1)


def take_rows(cache: Cache, rows: jax.Array) -> Cache:
    """Return the cache of these rows. A row may occur several times."""
    keys, values, positions = jax.tree.map(lambda x: x[rows], (cache.keys, cache.values, cache.positions_BS))
    return Cache(keys, values, positions, cache.n_filled)
