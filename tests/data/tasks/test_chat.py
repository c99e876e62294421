"""Conversations: an example an answer, rendered by the base's own template when its tokens are made."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import TaskData, encode_generation, encode_prompts, load_task
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|eot|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<s>", "</s>", "<|eot|>", "<|user|>", "<|assistant|>", "<|system|>")


def turns(i: int, n: int = 2) -> list[dict[str, str]]:
    """Return a system prompt and n questions, each answered."""
    said = [{"role": "system", "content": "be brief"}]
    for k in range(n):
        said += [{"role": "user", "content": f"{i} {k}"}, {"role": "assistant", "content": f"ok {i} {k}"}]
    return said


def put(folder: Path, rows: list[dict[str, Any]]) -> TaskConfig:
    folder.mkdir(exist_ok=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return TaskConfig(name=f"files:{folder}")


def write_model(folder: Path, template: str | None, end_ids: Any = 2) -> HFTokenizer:
    """A tokenizer that puts <s> in front and </s> behind, of a model that ends its turns with <|eot|>."""
    folder.mkdir(exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner: Any = Tokenizer(models.BPE({token: i for i, token in enumerate([*SPECIAL, *letters])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(list(SPECIAL))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    inner.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end_ids}))
    return load_tokenizer(folder)


@pytest.fixture
def task(tmp_path: Path) -> TaskData:
    return load_task(put(tmp_path / "chat", [{"messages": turns(i)} for i in range(20)]))


def test_every_answer_is_an_example_and_a_conversation_is_on_one_side(task: TaskData) -> None:
    splits = {"train": task.train, "dev": task.dev, "test": task.test}
    assert sorted(e.completion or "" for split in splits.values() for e in split) == sorted(
        f"ok {i} {k}" for i in range(20) for k in range(2)
    )
    numbers = [{e.completion.split()[1] for e in split if e.completion} for split in splits.values()]
    assert sum(map(len, numbers)) == len(set().union(*numbers)) == 20
    assert task.kind == "generation"
    assert any("chat template renders" in note for note in task.notes)


@pytest.mark.parametrize("ends", [2, [1, 2]])
def test_rows_are_the_templates_text_and_end_once(tmp_path: Path, task: TaskData, ends: Any) -> None:
    tokenizer = write_model(tmp_path / "model", TEMPLATE, ends)
    encoded = encode_generation(task.train, tokenizer, 256)
    prompts = encode_prompts(task.train, tokenizer, 256)
    for example, row, n, prompt in zip(
        task.train, encoded.tokens, encoded.n_prompt_N, prompts.tokens, strict=True
    ):
        _, i, k = (example.completion or "").split()
        before = turns(int(i), int(k) + 1)[:-1]
        wanted = "<s>" + "".join(f"<|{m['role']}|>{m['content']}<|eot|>\n" for m in before) + "<|assistant|>"
        assert tokenizer.decode(row[:n], special=True) == wanted
        assert tokenizer.decode(row[n:], special=True) == f"ok {i} {k}<|eot|>"
        assert row[:n].tolist() == prompt.tolist()


def test_a_template_without_bos_gets_none(tmp_path: Path, task: TaskData) -> None:
    """transformers reads rendered conversations without special tokens of the tokenizer's own."""
    tokenizer = write_model(tmp_path / "model", TEMPLATE.replace("{{ bos_token }}", ""))
    assert all(0 not in row for row in encode_prompts(task.train, tokenizer, 256).tokens)


def test_the_file_of_the_template_comes_before_the_config(tmp_path: Path) -> None:
    write_model(tmp_path, "{{ 'config' }}")
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}\n")
    assert load_tokenizer(tmp_path).render([{"role": "user", "content": "file"}], is_open=True) == "file"
    (tmp_path / "chat_template.jinja").unlink()
    assert load_tokenizer(tmp_path).render([{"role": "user", "content": "x"}], is_open=True) == "config"
    named: Any = [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}]
    assert write_model(tmp_path, named).render([{"role": "user", "content": "x"}], is_open=True) == "b"


def test_other_spellings_are_the_same_conversation(tmp_path: Path, task: TaskData) -> None:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    sharegpt = [
        {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in turns(i)]}
        for i in range(20)
    ]
    assert load_task(put(tmp_path / "sharegpt", sharegpt)).train == task.train
    split = [{"prompt": turns(i)[:-1], "completion": turns(i)[-1:]} for i in range(20)]
    assert load_task(put(tmp_path / "split", split)).train == task.train


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": []}, "Line 1 of .* has '.*' in 'messages', but it must be a list of messages"),
        ({"messages": "hi"}, "it must be a list of messages"),
        ({"messages": turns(0)[:2]}, "has no message of the assistant"),
        ({"messages": turns(0)[2:]}, "begins with the assistant"),
        ({"messages": [{"role": "user"}]}, "it must be a message with a role and a text"),
        ({"messages": [{"from": "robot", "value": "x"}]}, "it must be a message with a role and a text"),
        ({"messages": turns(0), "tools": [{"name": "f"}]}, "has tools, which are not read"),
        (
            {"messages": [*turns(0)[:2], {"role": "assistant", "content": "x", "tool_calls": [1]}]},
            "has tool_calls in a message of the assistant",
        ),
    ],
)
def test_what_is_no_conversation_is_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(LoraJaxError, match=message):
        load_task(put(tmp_path / "chat", [row, {"messages": turns(1)}]))


def test_what_cannot_be_rendered_is_refused(tmp_path: Path, task: TaskData, monkeypatch: Any) -> None:
    with pytest.raises(LoraJaxError, match=r"the base has no chat template .* take a base"):
        encode_generation(task.train, write_model(tmp_path / "none", None), 256)
    refusing = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(LoraJaxError, match=r"does not render the conversation .*roles must alternate"):
        encode_prompts(task.train, write_model(tmp_path / "refuses", refusing), 256)
    with pytest.raises(LoraJaxError, match="is no Jinja"):
        encode_prompts(task.train, write_model(tmp_path / "broken", "{% for %}"), 256)
    other = "{{ messages | length }}{{ messages[-1].content }}"
    with pytest.raises(LoraJaxError, match="is no beginning of that"):
        encode_generation(task.train, write_model(tmp_path / "other", other), 256)
    with pytest.raises(LoraJaxError, match=r"task.template is .* holds messages"):
        load_task(replace(put(tmp_path / "t", [{"messages": turns(1)}]), template="{messages}"))
