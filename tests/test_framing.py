"""Prompts begin once and end open, rows end once, texts stop where the model's files say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from lora_jax.data.tasks import Example, encode_classification, encode_generation, encode_prompts
from lora_jax.errors import LoraJaxError
from lora_jax.framing import Framing, choose_end_ids, find_end_ids
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer

SPECIAL = ("<s>", "</s>", "<|eot|>")
TEMPLATES = {  # by what stands around a text
    "none": None,
    "begins": "<s> $A",
    "ends": "$A </s>",
    "both": "<s> $A </s>",
}


def byte_level(template: str | None) -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("a", "b"), ("Ġ", "o"), ("Ġo", "k")]
    vocab = {token: i for i, token in enumerate([*SPECIAL, *letters, *(a + b for a, b in merges)])}
    inner: Any = Tokenizer(models.BPE(vocab, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return frame(inner, template)


def sentencepiece(template: str | None) -> Any:
    """A space is written at the start of a text, and dropped again where one is read."""
    pieces = [*((token, 0.0) for token in SPECIAL), ("<unk>", 0.0)]
    words = ("ab", "▁a", "▁ok", "ok", "▁b", "▁", *"abcdefxyz\n:()+ ")
    pieces += [(piece, -2.0 - number) for number, piece in enumerate(words)]
    inner: Any = Tokenizer(models.Unigram(pieces, unk_id=3))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return frame(inner, template)


def frame(inner: Any, template: str | None) -> Any:
    inner.add_special_tokens(list(SPECIAL))
    if template is not None:
        inner.post_processor = processors.TemplateProcessing(
            single=template, pair=f"{template} $B", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return inner


KINDS: list[Any] = [
    pytest.param(make, kind, id=f"{make.__name__}-{kind}")
    for make in (byte_level, sentencepiece)
    for kind in TEMPLATES
]


def wrap(inner: Any, end_ids: tuple[int, ...] = ()) -> HFTokenizer:
    return HFTokenizer(inner, inner.get_vocab_size(), bos_id=0, eos_id=1, pad_id=None, end_ids=end_ids)


@pytest.mark.parametrize(("make", "kind"), KINDS)
def test_a_prompt_begins_once_and_ends_open(make: Callable[[str | None], Any], kind: str) -> None:
    inner = make(TEMPLATES[kind])
    tokenizer, begins = wrap(inner), kind in ("begins", "both")
    for text in ("a", "ab ok", "a\n", "ok<|eot|>"):
        plain = inner.encode(text, add_special_tokens=False).ids
        wanted = [0, *plain] if begins else plain
        assert Framing(tokenizer).prompt(text).ids == wanted
        assert encode_prompts([Example(text)], tokenizer, 64).tokens[0].tolist() == wanted
        spelled = inner.encode("<s>" + text, add_special_tokens=False).ids
        assert Framing(tokenizer).prompt("<s>" + text).ids == spelled, "the text has one already"
        assert encode_prompts([Example("<s>" + text)], tokenizer, 64).tokens[0].tolist() == spelled
        assert tokenizer.encode("<s>" + text)[0].count(0) == 1
        assert tokenizer.encode_batch(["<s>" + text])[0].count(0) == 1
        rendered = Framing(tokenizer).prompt(text, rendered=True).ids
        assert rendered == plain, "a chat template writes its own"


@pytest.mark.parametrize(("make", "kind"), KINDS)
@pytest.mark.parametrize("prompt", ["a", "<s>a ", "xa", "a\n  "])
@pytest.mark.parametrize("completion", [" ok", "b", "ok", "    a + b", " ok</s>", "b<|eot|>", " ok<|eot|>\n"])
def test_a_row_is_its_texts_and_ends_once(
    make: Callable[[str | None], Any], kind: str, prompt: str, completion: str
) -> None:
    tokenizer = wrap(make(TEMPLATES[kind]), (1, 2))
    encoded = encode_generation([Example(prompt, references=(completion,))], tokenizer, 64)
    row, n = encoded.tokens[0].tolist(), int(encoded.n_prompt_N[0])
    assert row[:n] == encode_prompts([Example(prompt)], tokenizer, 64).tokens[0].tolist()
    assert [token in (1, 2) for token in row[n:]] == [False] * (len(row) - n - 1) + [True]
    assert 1 not in row[:n], "nothing follows an end"
    own = "<|eot|>" if "<|eot|>" in completion else "</s>"
    text = (prompt + completion).replace("<s>", "").partition("</s>")[0].partition("<|eot|>")[0]
    assert tokenizer.decode(row, special=True).removeprefix("<s>").strip() == (text + own).strip()


def test_a_classifier_keeps_both_its_tokens() -> None:
    tokenizer = wrap(byte_level("<s> $A </s>"))
    encoded = encode_classification([Example("a", label=0), Example("<s>a", label=1)], tokenizer, 16, 2)
    a = tokenizer.encode("a", special=False)[0]
    assert [row.tolist() for row in encoded.tokens] == [[0, *a, 1]] * 2


def test_a_completion_behind_a_border_token_has_no_space_of_its_own() -> None:
    """SentencePiece begins a text with a space: "b" by itself is " b", which is another text."""
    tokenizer = wrap(sentencepiece(None))
    ids = Framing(tokenizer).continuation("xa", "b")
    before = tokenizer.encode("xa", special=False)[0]
    assert tokenizer.encode("xab", special=False)[0][: len(before)] != before, "else nothing is tried here"
    assert tokenizer.decode([*before, *ids]) == "xab"
    assert tokenizer.decode([*before, *tokenizer.encode("b", special=False)[0]]) == "xa b"


@pytest.mark.parametrize(
    ("generation", "config", "tokenizer_eos", "expected"),
    [
        ([1, 2], 1, "</s>", (1, 2)),
        (2, [1], "</s>", (2,)),
        (None, [1, 2], "</s>", (1, 2)),
        (None, 2, "</s>", (2,)),
        (None, None, "</s>", (1,)),
        (None, None, None, ()),
        ([2, 2, 1], None, None, (2, 1)),
    ],
)
def test_the_first_file_that_names_ends_holds(
    tmp_path: Path, generation: Any, config: Any, tokenizer_eos: str | None, expected: tuple[int, ...]
) -> None:
    byte_level(None).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": generation}))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": config}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": tokenizer_eos}))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.end_ids == find_end_ids(tokenizer) == expected
    (tmp_path / "generation_config.json").unlink()
    assert load_tokenizer(tmp_path).end_ids == choose_end_ids(None, config, tokenizer.eos_id)


@pytest.mark.parametrize("wrong", ["</s>", [1, "x"], True, 1.5, {"id": 1}])
def test_an_end_that_is_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(LoraJaxError, match=r"generation_config.json has the eos_token_id .* mend it"):
        choose_end_ids(wrong, 1, 1)


def test_a_named_token_is_special_though_tokenizer_json_does_not_say_so(tmp_path: Path) -> None:
    words = {"</s>": 0, "a": 1, "<unk>": 2}
    inner: Any = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "</s>"}}))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("a </s>")[0] == [1, 0]
    assert tokenizer.continue_text([1, 0]).strip() == "a"
