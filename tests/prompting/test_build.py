"""Prompts as tokens: of one text, never longer than the room, with as many demonstrations as fit."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lora_jax.data.tasks import Example
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.tokenizer import HFTokenizer
from lora_jax.prompting.build import build_prompts, make_encoder
from lora_jax.prompting.prompt import Prompt
from tests.prompting.places import FEEL, wrap

SHOWN = tuple(Example(f"Text: good {'gd' * i}\nFeeling:", None, i % 2) for i in range(8))
ASKED = tuple(Example(f"Text: {'odd ' * (7 * i % 15)}v\nFeeling:", None, 0) for i in range(12))
FULL = 100_000
SHORT = Prompt("{text}\nTL;DR:", scorer="generate", n_new=5)


def shared_length(contexts: tuple[tuple[int, ...], ...]) -> int:
    n = 0
    while all(len(c) > n and c[n] == contexts[0][n] for c in contexts):
        n += 1
    return n


def test_a_prompt_is_one_text(tokenizer: HFTokenizer) -> None:
    built = build_prompts(FEEL, SHOWN, ASKED, tokenizer, FULL)
    shown = "".join(f"{e.text} {FEEL.answers[e.label or 0]}\n\n" for e in SHOWN)
    for question, text, ids, answers in zip(ASKED, built.texts, built.contexts, built.answers, strict=True):
        assert text == shown + question.text
        whole = tokenizer.encode(text)[0]
        assert list(ids) == whole[: len(ids)]
        assert whole[len(ids) :] in ([], [0]), "what may be left out is the end of a text"
        for answer, words in zip(answers, FEEL.answers, strict=True):
            assert tokenizer.decode([*ids, *answer]).removeprefix("<s>") == f"{text} {words}"
    assert (built.n_cut, built.n_shortened, built.n_shots_N.tolist()) == (0, 0, [8] * 12)
    assert built.describe_cuts(8, FULL) == []


def test_all_prompts_begin_with_the_demonstrations_tokens(tokenizer: HFTokenizer) -> None:
    built = build_prompts(FEEL, SHOWN, ASKED, tokenizer, FULL)
    lead = built.texts[0][: -len(ASKED[0].text)]
    # Of a tokenizer that joins anything the last token may reach into the question.
    assert shared_length(built.contexts) >= len(make_encoder(tokenizer)(lead)) - 1


def test_prompts_never_exceed_the_room_and_hold_what_fits(tokenizer: HFTokenizer) -> None:
    encode = make_encoder(tokenizer)
    shown = [f"{e.text} {FEEL.answers[e.label or 0]}\n\n" for e in SHOWN]
    before = None
    for room in range(110, 420, 7):
        built = build_prompts(FEEL, SHOWN, ASKED, tokenizer, room)
        for question, ids, answers, m in zip(
            ASKED, built.contexts, built.answers, built.n_shots_N, strict=True
        ):
            longest = max(map(len, answers))
            assert len(ids) + longest <= room
            assert list(ids) == encode("".join(shown[:m]) + question.text), "the last ones are left out"
            assert m == 8 or len(encode("".join(shown[: m + 1]) + question.text)) + longest > room
        assert built.n_cut == (built.n_shots_N < 8).sum()
        assert bool(built.describe_cuts(8, room)) == (built.n_cut > 0)
        assert before is None or (built.n_shots_N >= before).all(), "more room holds no fewer"
        before = built.n_shots_N
    assert before is not None
    assert before.min() == 8, "the range of rooms ends where all fits"


def test_a_long_text_loses_its_end_and_keeps_what_is_asked(tokenizer: HFTokenizer) -> None:
    long = Example("good odd " * 40 + "\nTL;DR:", references=(" v",))
    for room in range(25, 120, 3):
        built = build_prompts(SHORT, (), [long], tokenizer, room)
        assert len(built.contexts[0]) + SHORT.n_new <= room
        assert built.n_shortened == 1
        text = built.texts[0]
        assert text.endswith("\nTL;DR:")
        assert long.text.startswith(text.removesuffix("\nTL;DR:"))
        assert len(built.contexts[0]) + SHORT.n_new > room - 8, "no more is lost than a word"
    assert "1 of 1 questions" in built.describe_cuts(0, 20)[0]
    assert build_prompts(SHORT, (), [long], tokenizer, FULL).n_shortened == 0


def test_a_demonstration_of_free_text_shows_its_reference(tokenizer: HFTokenizer) -> None:
    shown = Example("odd\nTL;DR:", completion=" v", references=(" v", " w"))
    built = build_prompts(SHORT, [shown], [Example("good\nTL;DR:")], tokenizer, FULL)
    assert built.texts == ("odd\nTL;DR: v\n\ngood\nTL;DR:",)
    assert built.answers == ((),)


def test_words_that_the_tokenizer_drops_are_no_answer() -> None:
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate("abcdefgTxtFeling:")}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    prompt = Prompt("{text} is", ("bad", "öß"))
    with pytest.raises(LoraJaxError, match=r"answer 'öß' has no tokens .* give the label other words"):
        build_prompts(prompt, (), [Example("a", None, 0)], wrap(inner), FULL)


def test_mistakes_are_named(tokenizer: HFTokenizer) -> None:
    two, questions = Prompt("{a}\n{b}", scorer="generate", n_new=10), [Example("a\nb"), Example("long " * 30)]
    with pytest.raises(LoraJaxError, match=r"Question 1 .* is a prompt of .* longer than the 20 .* shorten"):
        build_prompts(two, (), questions, tokenizer, 30)
    with pytest.raises(LoraJaxError, match=r"longer than the 0"):
        build_prompts(SHORT, (), ASKED, tokenizer, 3)
    with pytest.raises(LoraJaxError, match=r"Question 0 is an empty prompt .* give the template words"):
        build_prompts(Prompt("{text}", scorer="generate"), (), [Example("")], tokenizer, FULL)
    with pytest.raises(LoraJaxError, match=r"has the label 2, and the prompt has answers for 0 to 1"):
        build_prompts(FEEL, [Example("a", None, 2)], ASKED, tokenizer, FULL)
    with pytest.raises(LoraJaxError, match=r"'odd'.* has no answer"):
        build_prompts(SHORT, [Example("odd")], ASKED, tokenizer, FULL)
