"""A folder's tokenizer: pairs, special ids from three files, and nothing that is cut short in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.tokenizer import load_tokenizer

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "good", "film", "bad"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A word-level tokenizer that puts BERT's tokens around a text, saved with truncation and padding."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens(WORDS[:3])
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    inner.enable_truncation(4)
    inner.enable_padding(length=9)
    inner.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_texts_and_pairs_come_whole(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("a good film a bad film") == ([1, 4, 5, 6, 4, 7, 6, 2], [0] * 8)
    assert tokenizer.encode("a film", "good") == ([1, 4, 6, 2, 5, 2], [0, 0, 0, 0, 1, 1])
    assert tokenizer.encode("a film", special=False) == ([4, 6], [0, 0])
    assert tokenizer.encode_batch(["a", "good film"]) == [[1, 4, 2], [1, 5, 6, 2]]
    assert tokenizer.decode([1, 5, 6, 2]) == "good film"
    assert tokenizer.decode([1, 5, 2], special=True) == "[CLS] good [SEP]"
    assert tokenizer.vocab_size == 8


def test_special_ids_come_from_the_first_file_that_names_them(folder: Path) -> None:
    none = load_tokenizer(folder)
    assert (none.bos_id, none.eos_id, none.pad_id) == (None, None, None)
    (folder / "config.json").write_text(
        json.dumps({"bos_token_id": 5, "eos_token_id": [6, 2], "pad_token_id": 7})
    )
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "[SEP]", "pad_token": "bad"}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"pad_token": {"content": "[PAD]"}, "eos_token": None, "added_tokens_decoder": {}})
    )
    found = load_tokenizer(folder)
    assert (found.bos_id, found.eos_id, found.pad_id) == (5, 2, 0)


@pytest.mark.parametrize(("fields", "expected"), [({}, 2), ({"added_tokens_decoder": {}}, 6)])
def test_of_two_files_the_one_holds_that_transformers_reads(
    folder: Path, fields: dict[str, Any], expected: int
) -> None:
    """tests/parity/test_framing.py asks transformers itself."""
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "[SEP]"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "film", **fields}))
    assert load_tokenizer(folder).eos_id == expected


def like_llama() -> Tokenizer:
    """SentencePiece's way: a space is written at the start of a text, and dropped again where one is read."""
    pieces = [("<unk>", 0.0), *((piece, -2.0) for piece in ("▁a", "▁good", "▁film", "s", ","))]
    inner = Tokenizer(models.Unigram(pieces, unk_id=0))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return inner


def like_gpt2() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return inner


@pytest.mark.parametrize("make", [like_llama, like_gpt2])
def test_a_text_cut_anywhere_goes_on_as_it_was(make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    make().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    text = "a good film, a good films"
    ids = tokenizer.encode(text)[0]
    for n in range(1, len(ids) + 1):
        assert tokenizer.decode(ids[:n]) + tokenizer.continue_text(ids[n:]) == text


def test_what_is_wrong_with_a_tokenizer_is_said(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"pad_token": "<pad>"}')
    with pytest.raises(LoraJaxError, match="the pad token '<pad>'"):
        load_tokenizer(folder)
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(LoraJaxError, match=r"tokenizer_config.json is no JSON"):
        load_tokenizer(folder)
    whole = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(whole[:300])
    with pytest.raises(LoraJaxError, match="no tokenizer that can be read"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LoraJaxError, match=r"has no tokenizer.json"):
        load_tokenizer(folder)
