"""The common beginning of several texts, read once into a cache of one row that all of them attend to."""

from collections.abc import Sequence

import numpy as np

from lora_jax.generation.engine import Engine, Weights
from lora_jax.generation.shapes import Tokens, bucket_length, pad_in_front
from lora_jax.model.cache import Cache

LEAST_SHARED = 16  # tokens: a shorter beginning is not worth a separate call


def count_common(contexts: Sequence[Tokens]) -> int:
    """Return how many tokens all texts begin with. Each text keeps at least one of its own.

    It is 0 if they share fewer than LEAST_SHARED.
    """
    if len(contexts) < 2:
        return 0
    shortest, first = min(len(context) for context in contexts), np.asarray(contexts[0])
    n = shortest - 1
    for context in contexts[1:]:
        differs = np.flatnonzero(np.asarray(context[:n]) != first[:n])
        n = int(differs[0]) if len(differs) else n
    return n if n >= LEAST_SHARED else 0


def read_common(engine: Engine, weights: Weights, tokens: Tokens) -> Cache:
    """Return a cache of one row that holds these tokens, for texts that go on from them."""
    tokens_BT, real_BT = pad_in_front([tokens], 1, bucket_length(len(tokens)))
    return engine.read(weights, engine.start(weights, 1, tokens_BT.shape[1]), tokens_BT, real_BT)[1]
