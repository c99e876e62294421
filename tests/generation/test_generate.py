"""What is written with a cache, in batches, is what one whole forward pass a token gives."""

from collections import Counter
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.generation.decode import Kind, compile_decoding
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import cut_at_stop, generate
from lora_jax.generation.likelihood import Request, score
from lora_jax.generation.sampling import Sampling
from lora_jax.model.transformer import forward
from lora_jax.params import combine
from lora_jax.peft.low_rank import SCALE
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.stacking import adapt_all
from tests.generation.conftest import MODEL, draw_prompts

RUN = jax.jit(forward, static_argnums=(0, 3))
LENGTH = 26  # of the buffer that whole passes read: causal attention does not see what lies behind


def decode(tokens):
    """Return tokens as text, a letter each: 'A' is 0."""
    return "".join(chr(65 + token) for token in tokens)


def write_by_hand(params, prompt, n_new, hooks=None):
    tokens = list(prompt)
    for _ in range(n_new):
        buffer = np.zeros((1, LENGTH), np.int32)
        buffer[0, : len(tokens)] = tokens
        logits_TV = RUN(MODEL, params, buffer, *([] if hooks is None else [hooks]))[0]
        tokens.append(int(logits_TV[len(tokens) - 1].argmax()))
    return tokens[len(prompt) :]


def test_prompts_of_unequal_length_are_completed_as_each_by_itself(engine, params) -> None:
    prompts = draw_prompts([3, 11, 1, 7, 7])
    found = generate(engine, prompts, 9, batch_size=4)
    assert [one.tokens for one in found] == [write_by_hand(params, prompt, 9) for prompt in prompts]
    assert {one.finish for one in found} == {"length"}


@pytest.mark.parametrize("method", [None, pytest.param(Prefix(length=3, std=1.0), marks=pytest.mark.slow)])
def test_a_common_beginning_is_read_once_and_changes_nothing(params, method) -> None:
    (common,) = draw_prompts([18])
    prompts = [common + own for own in draw_prompts([1, 5, 2], seed=1)]
    if method is None:
        engine, whole, hooks = Engine(MODEL, params), params, None
    else:
        built = method.build(MODEL)
        (adapted,) = adapt_all(params, [{}], [built], seeds=[0])
        engine, whole, hooks = Engine(MODEL, [adapted], method), combine(*adapted), built.hooks
    found = generate(engine, prompts, 3)
    by_hand = [write_by_hand(whole, prompt, 3, hooks) for prompt in prompts]
    assert [one.tokens for one in found] == by_hand
    assert [one.tokens for one in generate(engine, prompts, 3, reuse=False)] == by_hand
    requests = [Request(prompt, text) for prompt, text in zip(prompts, by_hand, strict=True)]
    once, whole_each = (score(engine, requests, reuse=reuse) for reuse in (True, False))
    assert once.n_tokens_run < whole_each.n_tokens_run
    for one, other in zip(once.likelihoods, whole_each.likelihoods, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert one.is_greedy


@pytest.mark.slow
def test_every_row_may_have_an_adapter_of_its_own(params) -> None:
    """Three LoRAs of other ranks and scales on one base, in one batch."""
    configs = [
        LoRA(rank=rank, alpha=alpha, targets=("all",)) for rank, alpha in ((1, 2.0), (3, 9.0), (2, 16.0))
    ]
    methods = [config.build(MODEL) for config in configs]
    adapted = adapt_all(params, [{}] * 3, methods, seeds=[0, 1, 2])
    # B starts at zero: adapters that do nothing would all write the same.
    adapted = [
        one._replace(
            trainable={
                p: w
                + 0.2
                * (p.endswith("_b") and w.shape[1] == 3)
                * np.sin(n + np.arange(w.size)).reshape(w.shape)
                for p, w in one.trainable.items()
            }
        )
        for n, one in enumerate(adapted)
    ]
    engine = Engine(MODEL, adapted, configs[0])
    prompts, which = draw_prompts([5, 2, 5, 9]), [2, 0, 1, 1]
    found = generate(engine, prompts, 6, adapters=which)
    for prompt, number, completion in zip(prompts, which, found, strict=True):
        one = adapted[number]
        assert any(path.startswith(SCALE) for path in one.frozen)
        assert completion.tokens == write_by_hand(combine(*one), prompt, 6, methods[number].hooks)
    assert len({tuple(generate(engine, prompts[:1], 6, adapters=[n])[0].tokens) for n in range(3)}) > 1


@pytest.mark.slow
def test_a_prefix_of_each_row_is_read_from_its_own_cache(params) -> None:
    config = Prefix(length=3, std=1.0)
    method = config.build(MODEL)
    adapted = adapt_all(params, [{}] * 2, [method] * 2, seeds=[0, 1])
    prompts = draw_prompts([4, 6])
    found = generate(Engine(MODEL, adapted, config), prompts, 5, adapters=[0, 1])
    for prompt, one, completion in zip(prompts, adapted, found, strict=True):
        assert completion.tokens == write_by_hand(combine(*one), prompt, 5, method.hooks)


def test_a_text_ends_at_an_end_token_and_at_a_stop_string(engine, params) -> None:
    (prompt,) = draw_prompts([6])
    whole = write_by_hand(params, prompt, 12)
    end = whole[5]
    (found,) = generate(engine, [prompt], 12, end_ids=[end])
    assert (found.tokens, found.finish) == (whole[: whole.index(end)], "end")
    stop = decode(whole[3:5])
    (found,) = generate(engine, [prompt], 12, stop=[stop], decode=decode)
    assert found.finish == "stop"
    assert decode(found.tokens).endswith(stop)
    assert stop not in decode(found.tokens[:-1])
    assert cut_at_stop(decode(found.tokens), [stop]) == decode(found.tokens).removesuffix(stop)


def test_the_context_limits_what_is_written(engine) -> None:
    (prompt,) = draw_prompts([397])
    assert len(generate(engine, [prompt], 20)[0].tokens) == 3


@pytest.mark.slow
def test_draws_depend_on_the_seed_and_the_prompt_and_not_on_what_is_beside(engine) -> None:
    prompts = draw_prompts([4, 9, 2, 5])
    sampling = Sampling(temperature=1.5, top_p=0.95, seed=3)
    together = generate(engine, prompts, 8, sampling=sampling)
    apart = generate(engine, prompts, 8, sampling=sampling, batch_size=1)
    assert together == apart
    assert together != generate(engine, prompts, 8, sampling=sampling._replace(seed=4))


@pytest.mark.slow
def test_draws_have_the_distribution_of_the_model(engine, params) -> None:
    """A chi-square test of the first token of 2,000 draws, at a temperature of 2."""
    from scipy.stats import chisquare

    (prompt,) = draw_prompts([3])
    found = generate(engine, [prompt] * 2000, 1, sampling=Sampling(temperature=2.0), batch_size=512)
    logits_V = forward(MODEL, params, jnp.array([prompt]))[0, -1]
    expected = 2000 * np.asarray(jax.nn.softmax(logits_V / 2.0), np.float64)
    counts = Counter(one.tokens[0] for one in found)
    seen = np.array([counts[token] for token in range(MODEL.vocab_size)])
    is_rare = expected < 5
    pooled = [np.append(x[~is_rare], x[is_rare].sum()) for x in (seen, expected)]
    assert chisquare(pooled[0], pooled[1] * 2000 / pooled[1].sum()).pvalue > 1e-3


def test_no_n_tokens_in_a_row_occur_twice(engine) -> None:
    prompts = draw_prompts([5, 12, 8])
    free = generate(engine, prompts, 60)
    blocked = generate(engine, prompts, 60, sampling=Sampling(no_repeat=2))
    for prompt, one, other in zip(prompts, free, blocked, strict=True):
        pairs = Counter(pairwise(prompt + one.tokens))
        assert max(pairs.values()) > 1  # there was something to block
        text = prompt + other.tokens
        for at in range(len(prompt), len(text)):
            seen = set(pairwise(text[:at]))
            assert (text[at - 1], text[at]) not in seen


def test_lengths_of_one_bucket_and_other_temperatures_compile_nothing(engine) -> None:
    sampling = Sampling(temperature=0.7, top_k=5)
    generate(engine, draw_prompts([9, 12]), 5, sampling=sampling)
    decoding = compile_decoding(MODEL, None, Kind.of(sampling))
    before = engine.programs.read._cache_size(), decoding.go_on._cache_size()  # pyright: ignore
    generate(engine, draw_prompts([10, 16]), 9, sampling=Sampling(temperature=1.3, top_k=9, seed=5))
    assert (engine.programs.read._cache_size(), decoding.go_on._cache_size()) == before  # pyright: ignore


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ([], {}, "prompt 0 is empty"),
        ([1] * 400, {}, "prompt 0 has 400 tokens, but it must have fewer than the 400"),
        ([1], {"stop": ["x"]}, "give `decode`"),
        ([1], {"stop": [""], "decode": decode}, "a stop string is empty"),
        ([1], {"sampling": Sampling(temperature=-1.0)}, "temperature is -1.0"),
        ([1], {"sampling": Sampling(top_k=0)}, "top_k is 0"),
        ([1], {"sampling": Sampling(top_p=1.5)}, "top_p is 1.5"),
        ([1], {"adapters": [1]}, "asks for adapter 1, the engine has 1"),
    ],
)
def test_what_cannot_be_completed_is_refused(engine, prompt, options, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        generate(engine, [prompt], 3, **options)
