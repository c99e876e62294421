"""Which tokens of conversations train, beside transformers' assistant mask and the difference of prefixes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import encode_generation, load_task
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer
from tests.parity.test_framing import write_tokenizer

pytestmark = pytest.mark.parity
# ChatML as most models have it. MARKED says what the assistant writes, BARE leaves the end of the turn out.
CHATML = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' -%}ANSWER{%- else -%}{{ m.content + '<|im_end|>' }}{%- endif -%}"
    "{{ '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
PLAIN = CHATML.replace("ANSWER", "{{ m.content + '<|im_end|>' }}")
MARKED = CHATML.replace("ANSWER", "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}")
BARE = CHATML.replace("ANSWER", "{% generation %}{{ m.content }}{% endgeneration %}{{ '<|im_end|>' }}")
SAID = [
    [
        ("system", "be brief"),
        ("user", "ok?"),
        ("assistant", "a film"),
        ("user", "so"),
        ("assistant", "it is ab"),
    ],
    [("user", "deeper\n  still"), ("assistant", "  ok ok")],
    [("user", "é"), ("assistant", "日本 ok\n\nab"), ("user", "{a}"), ("assistant", "b"), ("user", "c")],
]


def messages_of(said: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in said]


def put(folder: Path, template: str) -> tuple[Any, HFTokenizer]:
    """Write a tokenizer with a chat template; return transformers' reading of it and ours."""
    transformers = pytest.importorskip("transformers", reason="parity with transformers")
    write_tokenizer(folder, None, {"eos_token": "<|im_end|>", "pad_token": "</s>", "chat_template": template})
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder), load_tokenizer(folder)


def ours(said: list[tuple[str, str]], tokenizer: HFTokenizer, folder: Path) -> tuple[list[int], list[int]]:
    """Return the tokens of a conversation up to its last answer, and which of them its rows predict."""
    path = folder / "one"
    path.mkdir(exist_ok=True)
    other = {"messages": messages_of([("user", "other"), ("assistant", "x")])}
    for split in ("dev", "test"):
        (path / f"{split}.jsonl").write_text(json.dumps(other))
    (path / "train.jsonl").write_text(json.dumps({"messages": messages_of(said)}))
    task = load_task(TaskConfig(name=f"files:{path}"))
    encoded = encode_generation(task.train, tokenizer, 10_000)
    longest = max(encoded.tokens, key=len)
    mask = np.zeros(len(longest), int)
    for row, n in zip(encoded.tokens, encoded.n_prompt_N, strict=True):
        assert row.tolist() == longest[: len(row)].tolist(), "rows of a conversation are its beginnings"
        mask[n : len(row)] = 1
    return longest.tolist(), mask.tolist()


@pytest.mark.parametrize("said", SAID, ids=str)
@pytest.mark.parametrize("template", [MARKED, BARE], ids=["with end", "without end"])
def test_masks_are_transformers_where_the_template_marks_the_assistant(
    tmp_path: Path, template: str, said: list[tuple[str, str]]
) -> None:
    theirs, tokenizer = put(tmp_path, template)
    wanted = theirs.apply_chat_template(
        messages_of(said), return_assistant_tokens_mask=True, return_dict=True, tokenize=True
    )
    tokens, mask = ours(said, tokenizer, tmp_path)
    assert wanted["input_ids"][: len(tokens)] == tokens
    assert wanted["assistant_masks"][: len(tokens)] == mask
    assert not any(wanted["assistant_masks"][len(tokens) :])
    assert sum(mask) > 0


@pytest.mark.parametrize("said", SAID, ids=str)
def test_masks_are_the_difference_of_prefixes_elsewhere(tmp_path: Path, said: list[tuple[str, str]]) -> None:
    """What transformers renders with an answer, less what it renders up to it; the end of the turn trains."""
    theirs, tokenizer = put(tmp_path, PLAIN)
    messages = messages_of(said)
    whole = theirs.apply_chat_template(messages, return_dict=True, tokenize=True)["input_ids"]
    wanted = np.zeros(len(whole), int)
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = theirs.apply_chat_template(messages[:i], add_generation_prompt=True, tokenize=False)
            after = theirs.apply_chat_template(messages[: i + 1], tokenize=False)
            found = theirs(after, add_special_tokens=False, return_offsets_mapping=True)
            for token, (start, end) in enumerate(found["offset_mapping"]):
                wanted[token] |= start >= len(before) and end <= len(after.rstrip("\n"))
    tokens, mask = ours(said, tokenizer, tmp_path)
    assert whole[: len(tokens)] == tokens
    assert wanted[: len(tokens)].tolist() == mask
    assert not wanted[len(tokens) :].any()


def test_the_packaged_chat_models_mask_is_read_off_its_text(tmp_path: Path) -> None:
    """SmolLM2's template: what trains is what stands between `<|im_start|>assistant` and `<|im_end|>`.

    No answer begins with white space here: its vocabulary has tokens of a line end and a space, which would
    reach from the prompt into the answer. Generation cannot write these, so that we train without them.
    """
    from lora_jax.huggingface.packages import locate_model

    folder = locate_model("smollm2")
    if not folder.is_dir():
        pytest.skip("smollm2 is not fetched")
    transformers = pytest.importorskip("transformers", reason="parity with transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(shutil.copytree(folder, tmp_path / "model"))
    for said in SAID:
        said = [(role, content.strip()) for role, content in said]
        text = theirs.apply_chat_template(messages_of(said), tokenize=False)
        found = theirs(text, add_special_tokens=False, return_offsets_mapping=True)
        wanted, at = np.zeros(len(found["input_ids"]), int), 0
        for role, _ in said:
            if role == "assistant":
                head = "<|im_start|>assistant\n"
                start = text.index(head, at) + len(head)
                at = text.index("<|im_end|>", start) + len("<|im_end|>")
                wanted |= [start <= s and e <= at for s, e in found["offset_mapping"]]
        tokens, mask = ours(said, load_tokenizer(folder), tmp_path)
        assert found["input_ids"][: len(tokens)] == tokens
        assert wanted[: len(tokens)].tolist() == mask
