"""The likelihood of a text is that of the whole forward pass, whatever is read once for several texts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.generation.likelihood import Request, score
from lora_jax.model.transformer import forward
from tests.generation.conftest import MODEL, draw_prompts

RUN = jax.jit(forward, static_argnums=0)


def by_hand(params, request):
    """Return (log-probability, is it the likeliest) by one forward pass over the text."""
    text = np.array([[*request.context, *request.continuation]], np.int32)
    logprob_TV = jax.nn.log_softmax(RUN(MODEL, params, jnp.asarray(text))[0], axis=-1)
    after = np.arange(len(request.context) - 1, text.shape[1] - 1)
    tokens = text[0, after + 1]
    return float(logprob_TV[after, tokens].sum()), bool((logprob_TV[after].argmax(-1) == tokens).all())


def make_requests():
    """Questions behind one beginning of 20 tokens, each with answers of 1 to 3 tokens."""
    (common,) = draw_prompts([20])
    questions = draw_prompts([3, 9, 9, 1], seed=1)
    answers = draw_prompts([1, 3, 2], seed=2)
    return [Request(common + question, answer) for question in questions for answer in answers]


@pytest.mark.parametrize("reuse", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_scores_are_those_of_the_whole_text(engine, params, reuse: bool) -> None:
    requests = make_requests()
    scored = score(engine, requests, reuse=reuse)
    for request, found in zip(requests, scored.likelihoods, strict=True):
        logprob, is_greedy = by_hand(params, request)
        assert found.logprob == pytest.approx(logprob, abs=2e-4 * len(request.continuation))  # a sum over it
        assert (found.n_tokens, found.is_greedy) == (len(request.continuation), is_greedy)
    n_answers = 4 * (0 + 2 + 1)
    whole = sum(len(r.context) for r in requests)
    assert scored.n_tokens_run == n_answers + (20 + 3 + 9 + 9 + 1 if reuse else whole)


def test_the_likeliest_text_is_greedy(engine, params) -> None:
    (context,) = draw_prompts([7])
    logits_TV = forward(MODEL, params, jnp.array([context]))[0]
    likeliest = int(logits_TV[-1].argmax())
    found = score(engine, [Request(context, [likeliest]), Request(context, [(likeliest + 1) % 37])])
    assert [one.is_greedy for one in found.likelihoods] == [True, False]


@pytest.mark.slow
def test_texts_longer_than_a_chunk(engine, params) -> None:
    context, text, short = draw_prompts([270, 120, 2])
    requests = [Request(context[:5], context[5:]), Request(context, text), Request(context[:5], short)]
    for request, found in zip(requests, score(engine, requests).likelihoods, strict=True):
        assert found.logprob == pytest.approx(by_hand(params, request)[0], rel=2e-5)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request([], [1]), "the context of request 0 has no tokens"),
        (Request([1], []), "the continuation of request 0 has no tokens"),
        (Request([1] * 400, [1, 1]), "has 402 tokens, .* at most 401"),
    ],
)
def test_what_has_no_likelihood_is_refused(engine, request_: Request, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        score(engine, [request_])
