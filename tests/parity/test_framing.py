"""Tokens of prompts, rows and chats beside transformers' tokenizers, and where its generate stops."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_jax.framing import Framing
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer
from tests.parity.conftest import VOCAB

pytestmark = pytest.mark.parity
TEXTS = ("a film", "ab ok\n", "  deep\n    deeper", "so it is.", "é 日本", "")
# What stands around a text, and which tokens the small files name.
LIKE: dict[str, dict[str, Any]] = {
    "llama": {"single": "<s> $A", "named": {"bos_token": "<s>", "eos_token": "</s>"}},
    "llama_add_eos": {"single": "<s> $A </s>", "named": {"bos_token": "<s>", "eos_token": "</s>"}},
    "gpt2": {"single": None, "named": {"bos_token": "</s>", "eos_token": "</s>"}},
    "neox": {"single": "$A", "named": {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}},
    "qwen": {"single": None, "named": {"eos_token": "<|im_end|>", "pad_token": "</s>"}},
    "bert": {"single": "[CLS] $A [SEP]", "named": {"cls_token": "[CLS]", "sep_token": "[SEP]"}},
}
SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]", "<unk>")


@pytest.fixture(params=LIKE)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any, HFTokenizer]:
    """Return (name, transformers' tokenizer, ours) of one folder."""
    transformers = pytest.importorskip("transformers", reason="parity with transformers")
    like = LIKE[request.param]
    write_tokenizer(tmp_path, like["single"], like["named"], sentencepiece=request.param.startswith("llama"))
    return (
        request.param,
        transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path),
        load_tokenizer(tmp_path),
    )


def write_tokenizer(
    folder: Path, single: str | None, named: dict[str, str], *, sentencepiece: bool = False
) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner: Any
    if sentencepiece:
        bytes_ = [f"<0x{i:02X}>" for i in range(256)]
        pieces = [*SPECIAL, *bytes_, "▁", *"abcdefiklmostu.\n"]
        inner = Tokenizer(
            models.BPE(
                {piece: i for i, piece in enumerate([*pieces, "▁a"])},
                [("▁", "a")],
                unk_token="<unk>",
                fuse_unk=True,
                byte_fallback=True,
            )
        )
        inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        steps = [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
        inner.decoder = decoders.Sequence(steps)
    else:
        merges = [("a", "b"), ("Ġ", "o"), ("Ġo", "k")]
        vocab = {token: i for i, token in enumerate([*SPECIAL, *letters, *(a + b for a, b in merges)])}
        inner = Tokenizer(models.BPE(vocab, merges))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([token for token in SPECIAL if token != "<|im_end|>"])  # that one, a file names
    if single is not None:
        inner.post_processor = processors.TemplateProcessing(
            single=single, pair=f"{single} $B", special_tokens=[(t, SPECIAL.index(t)) for t in SPECIAL]
        )
    inner.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_texts_have_its_tokens(both: tuple[str, Any, HFTokenizer]) -> None:
    name, theirs, ours = both
    behind = {"llama_add_eos": 1, "bert": 1}.get(name, 0)
    for text in (*TEXTS, "so<|im_end|>"):
        plain, whole = theirs(text, add_special_tokens=False).input_ids, theirs(text).input_ids
        assert ours.encode(text, special=False)[0] == plain
        assert ours.encode(text)[0] == whole, "a whole text, as a classifier reads it"
        assert ours.encode_batch([text]) == [whole]
        assert Framing(ours).prompt(text).ids == whole[: len(whole) - behind], "and a prompt, which is open"
        assert Framing(ours).prompt(text, rendered=True).ids == plain
        for special in (True, False):
            assert ours.decode(whole, special=special) == theirs.decode(
                whole, skip_special_tokens=not special
            )


def test_what_begins_with_bos_is_read_as_its_chat_templates_are(both: tuple[str, Any, HFTokenizer]) -> None:
    name, theirs, ours = both
    front = {"bert": "[CLS]"}.get(name, "<s>")
    for text in TEXTS:
        spelled = front + text
        plain = theirs(spelled, add_special_tokens=False).input_ids
        if name not in ("gpt2", "neox", "qwen"):
            assert theirs(spelled).input_ids[1 : 1 + len(plain)] == plain, "transformers doubles it here"
        assert Framing(ours).prompt(spelled).ids == plain
        assert Framing(ours).prompt(spelled, rendered=True).ids == plain


GREEDY = 24


@pytest.mark.parametrize(
    ("generation", "config"), [("two", 1), ("one", 1), (None, "two"), (None, "one"), ("two", None)]
)
def test_generate_stops_where_its_generate_stops(
    tiny: Any, generation: Any, config: Any, tmp_path: Path
) -> None:
    """The ends are tokens that the model would write: taken from its texts without ends."""
    import torch
    import transformers

    folder = tmp_path / "model"
    shutil.copytree(tiny("llama").folder, folder)
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    write_small(folder, named)
    prompts = [[5, 9, 30], [7, 8, 9], [41, 3, 12], [60, 61, 5]]
    base = load_pretrained(str(folder))
    free = generate(Engine(base.config, base.params), prompts, GREEDY)
    ends = {"one": free[0].tokens[6], "two": [free[0].tokens[6], free[1].tokens[2]], 1: 1, None: None}
    settings = json.loads((folder / "config.json").read_text()) | {"eos_token_id": ends[config]}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends[generation]}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        written = [
            theirs.generate(torch.tensor([prompt]), max_new_tokens=GREEDY, do_sample=False, pad_token_id=2)[0]
            for prompt in prompts
        ]
    expected = [row[len(prompt) :].tolist() for row, prompt in zip(written, prompts, strict=True)]
    base = load_pretrained(str(folder))
    found = generate(Engine(base.config, base.params), prompts, GREEDY, end_ids=base.tokenizer.end_ids)
    assert any(len(row) < GREEDY for row in expected)
    for one, row in zip(found, expected, strict=True):
        assert [*one.tokens, *row[len(one.tokens) :]] == row
        assert (one.finish == "end") == (len(one.tokens) == len(row) - 1)


def write_small(folder: Path, named: dict[str, str]) -> None:
    """A token a letter, as many as the model embeds."""
    from tokenizers import Tokenizer, models

    names = ["<s>", "</s>", "<unk>", *(f"[{i}]" for i in range(3, VOCAB))]
    inner: Any = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] +"
    " '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set found = messages[0].content %}{% set messages ="
    " messages[1:] %}{% else %}{% set found = '' %}{% endif %}\n{% for m in messages %}\n"
    "    {% if m.role == 'user' %}\n{{ bos_token }}[INST] {{ found }} {{ m.content.strip() }} [/INST]\n"
    "    {%- elif m.role == 'assistant' %}\n"
    "{% generation %} {{ m.content }} {{ eos_token }}{% endgeneration %}\n"
    "    {%- else %}{{ raise_exception('what is a ' + m.role) }}{% endif %}\n{% endfor %}",
    "loops": "{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}{{ m | tojson }}"
    "{% endfor %}"
    "{{ cls_token is defined }}{{ strftime_now('%Y') }}{{ add_generation_prompt }}",
}
TALK = [
    {"role": "system", "content": "be brief é"},
    {"role": "user", "content": " so <s> it is "},
    {"role": "assistant", "content": "ok"},
    {"role": "user", "content": "a 'film'"},
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("place", ["jinja", "config"])
def test_conversations_are_rendered_and_read_as_its_are(template: str, place: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="parity with transformers")
    from lora_jax.data.tasks import Example, encode_prompts
    from lora_jax.data.tasks.chat import Conversation

    like = LIKE["llama_add_eos"]
    write_tokenizer(tmp_path, like["single"], like["named"])
    path = tmp_path / "tokenizer_config.json"
    other = "{{ 'not this one' }}" if place == "jinja" else TEMPLATES[template]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": other}))
    if place == "jinja":
        (tmp_path / "chat_template.jinja").write_text(TEMPLATES[template])
    theirs, ours = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path), load_tokenizer(tmp_path)
    for messages in (TALK, TALK[1:], TALK[1:2]):
        for is_open in (True, False):
            text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=is_open)
            assert ours.render(messages, is_open) == text
        wanted = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        found = encode_prompts([Example(Conversation.of(messages))], ours, 512).tokens[0]
        assert found.tolist() == list(wanted)


@pytest.mark.parametrize(
    "fields", [{}, {"added_tokens_decoder": {"1": {"content": "</s>", "special": True}}}]
)
def test_of_two_files_that_name_the_eos_the_same_one_holds(tmp_path: Path, fields: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="parity with transformers")
    write_tokenizer(tmp_path, None, {"eos_token": "</s>"})
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, **fields}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).eos_id == theirs.eos_token_id
