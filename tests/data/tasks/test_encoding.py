"""Tokens of texts, pairs, prompts and completions; what is too long is cut as the tokenizers library does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lora_jax.data.tasks import Example, encode_classification, encode_generation, encode_prompts
from lora_jax.errors import LoraJaxError

MakeTokenizer = Callable[[], Any]


def words(n: int, start: int = 0) -> str:
    return " ".join(f"w{(start + i) % 100}" for i in range(n))


def test_long_rows_are_cut_as_the_library_cuts_them(bert_like: MakeTokenizer) -> None:
    ours, theirs = bert_like(), bert_like()
    lengths = np.random.default_rng(0).integers(1, 40, (60, 2)).tolist()
    pairs = [Example(words(a), words(b, 50), label=0) for a, b in lengths]
    alone = [Example(words(a), None, label=1) for a, _ in lengths]
    for max_tokens in (5, 16, 33, 80):
        theirs.inner.enable_truncation(max_tokens, strategy="longest_first")
        for examples in (pairs, alone):
            encoded = encode_classification(examples, ours, max_tokens)
            wanted = [theirs.encode(e.text, e.pair) for e in examples]
            assert [row.tolist() for row in encoded.tokens] == [ids for ids, _ in wanted]
            assert [row.tolist() for row in encoded.types] == [types for _, types in wanted]
            whole = [len(ours.encode(e.text, e.pair)[0]) for e in examples]
            assert encoded.n_cut == sum(n > max_tokens for n in whole)


def test_a_completion_ends_and_alone_is_predicted(gpt_like: Any) -> None:
    example = Example("this film", completion=" is good", references=(" is good", " is"))
    encoded = encode_generation([example], gpt_like, 64)
    assert encoded.example_N.tolist() == [0, 0]
    for row, n_prompt, reference in zip(encoded.tokens, encoded.n_prompt_N, example.references, strict=True):
        assert gpt_like.decode(row[:n_prompt]) == "this film"
        assert row[n_prompt:].tolist() == [*gpt_like.encode(reference)[0], gpt_like.eos_id]
    assert [len(r) - n for r, n in zip(encoded.tokens, encoded.n_prompt_N, strict=True)] == [3, 2]
    prompts = encode_prompts([example], gpt_like, 64)
    assert prompts.tokens[0].tolist() == encoded.tokens[0][: encoded.n_prompt_N[0]].tolist()


def test_no_token_reaches_over_the_border(gpt_like: Any) -> None:
    """ "xa" + "b" would be encoded as x, ab: generation starts from x, a and can never say that."""
    encoded = encode_generation([Example("xa", completion="b", references=("b",))], gpt_like, 64)
    assert [gpt_like.decode([t]) for t in encoded.tokens[0][:-1]] == ["x", "a", "b"]
    assert encoded.n_prompt_N.tolist() == [2]


def test_a_long_prompt_loses_its_start_and_a_long_completion_its_end(gpt_like: Any) -> None:
    long_prompt = Example("abcdefgh", completion=" is", references=(" is",))
    long_answer = Example("x", completion="cdefghij", references=("cdefghij",))
    encoded = encode_generation([long_prompt, long_answer], gpt_like, 5)
    texts = [gpt_like.decode(row) for row in encoded.tokens]
    assert texts[0].startswith("fgh is"), "and then the end token"
    assert texts[1] == "xcdef"
    assert (encoded.n_prompt_N.tolist(), encoded.n_cut) == ([3, 1], 2)
    assert encoded.tokens[0][-1] == gpt_like.eos_id


def test_special_tokens_in_front_of_a_prompt_stay(bert_like: MakeTokenizer) -> None:
    from tokenizers import processors

    tokenizer = bert_like()._replace(eos_id=2)
    tokenizer.inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    encoded = encode_generation([Example(words(9), completion=" w50", references=(" w50",))], tokenizer, 6)
    assert encoded.tokens[0].tolist() == [1, 3 + 6, 3 + 7, 3 + 8, 3 + 50, 2]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("", label=0), "Example 1 .* has no tokens"),
        (Example("w1", label=2), "Example 1 .'w1'. has the label 2, but it must be a number of 0 to 1"),
        (Example("w1", label=None), "has the label None"),
    ],
)
def test_bad_labelled_examples_are_named(gpt_like: Any, example: Example, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        encode_classification([Example("w", label=0), example], gpt_like, 8, n_classes=2)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example("", references=("b",)), "Example 1 has the prompt '', which has no tokens"),
        (Example("a", references=("",)), "Example 1 .'a'. has the completion '', which has no tokens"),
    ],
)
def test_bad_prompts_are_named(gpt_like: Any, example: Example, message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        encode_generation([Example("a", references=("b",)), example], gpt_like, 8)


def test_what_cannot_be_encoded_at_all_is_named(gpt_like: Any, bert_like: MakeTokenizer) -> None:
    for encode in (encode_classification, encode_generation, encode_prompts):
        with pytest.raises(LoraJaxError, match="the split is empty"):
            encode([], gpt_like, 8)
    with pytest.raises(LoraJaxError, match="has no end token"):
        encode_generation([Example("a", references=("b",))], bert_like(), 8)
    with pytest.raises(LoraJaxError, match="special tokens take 3"):
        encode_classification([Example(words(9), words(9), label=0)], bert_like(), 4)
