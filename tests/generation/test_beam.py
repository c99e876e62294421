"""A beam as wide as there are texts finds the best of all of them; one line wide it is greedy."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.generation.beam import Beam, search
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import init
from tests.generation.conftest import draw_prompts

TINY = ModelConfig(d_model=8, n_layers=2, n_heads=2, vocab_size=5, context=32)


@pytest.fixture(scope="module")
def tiny():
    return {path: 3 * weight for path, weight in init(declare(TINY), 1).items()}


def score_texts(params, prompt, texts, penalty):
    rows = np.array([[*prompt, *text] for text in texts], np.int32)
    logprob_BTV = np.asarray(jax.nn.log_softmax(forward(TINY, params, jnp.asarray(rows))))
    n = len(prompt)
    return [
        sum(logprob_BTV[row, n - 1 + i, token] for i, token in enumerate(text)) / len(text) ** penalty
        for row, text in enumerate(texts)
    ]


@pytest.mark.slow
def test_a_wide_beam_finds_the_best_text(tiny) -> None:
    prompts = [[1, 4, 2], [3]]
    found = search(Engine(TINY, tiny), prompts, 3, beam=Beam(width=25))
    for prompt, completion in zip(prompts, found, strict=True):
        texts = list(product(range(5), repeat=3))
        scores = score_texts(tiny, prompt, texts, 1.0)
        assert tuple(completion.tokens) == texts[int(np.argmax(scores))]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [-1.0, 0.0, 3.0])
def test_among_texts_of_unequal_length_the_penalty_decides(tiny, penalty: float) -> None:
    """All texts of at most 2 tokens, of which the token 0 ends one: the best by score."""
    beam = Beam(width=20, length_penalty=penalty)
    for prompt in ([1, 4, 2], [3], [2, 2]):
        texts = [(0,)] + [(first, second) for first in range(1, 5) for second in range(5)]
        scores = [
            s for n in (1, 2) for s in score_texts(tiny, prompt, [t for t in texts if len(t) == n], penalty)
        ]
        best = texts[int(np.argmax(scores))]
        (found,) = search(Engine(TINY, tiny), [prompt], 2, beam=beam, end_ids=[0])
        assert (*found.tokens, *([0] if found.finish == "end" else [])) == best


def test_one_line_is_greedy(engine) -> None:
    prompts = draw_prompts([5, 9, 2])
    assert search(engine, prompts, 7, beam=Beam(width=1)) == generate(engine, prompts, 7)


def test_what_cannot_be_searched_is_refused(engine) -> None:
    with pytest.raises(LoraJaxError, match="width is 0"):
        Beam(width=0)
    with pytest.raises(LoraJaxError, match="prompt 0 leaves room for 1 to 2"):
        search(engine, [[1] * 398], 3, beam=Beam())
