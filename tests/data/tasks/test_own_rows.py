"""A file of one's own: what is wrong is said with its line, and a prompt may be asked as a user asks."""

import json
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import encode_generation, load_task
from lora_jax.errors import LoraJaxError
from tests.data.tasks.test_chat import TEMPLATE, turns, write_model

PROMPTS = [{"prompt": f"say {i}", "completion": f" ok {i}\n"} for i in range(20)]
LABELS = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(20)]
CHATS = [{"messages": turns(i, 1)} for i in range(20)]
ORDERS = [{"instruction": f"say {i}", "input": "loud" * (i % 2), "output": f"OK {i}"} for i in range(20)]


def put(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"files:{path}"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "has no rows"),
        ([*PROMPTS, {"prompt": "x"}], r"Line 21 of .*rows\.jsonl has no column 'completion'"),
        ([*PROMPTS, {"prompt": "x", "completion": " "}], "Line 21 of .* has an empty completion"),
        ([*PROMPTS, CHATS[0]], "Line 21 of .* has messages, and Line 1 of .* has prompt and completion"),
        ([CHATS[0], *PROMPTS], "Line 2 of .* has prompt and completion, and Line 1 of .* has messages"),
        ([*ORDERS, LABELS[0]], "Line 21 of .* has label, and Line 1 of .* has instruction and output"),
        ([*LABELS, {"text": "x", "label": "c"}], "Line 21 of .* has the label 'c', which no other row"),
        (
            [*CHATS, {"messages": [{"role": "usr", "content": "x"}, *turns(0, 1)]}],
            r"Line 21 of .* has the role 'usr' in 'messages' \(nearest: 'user'\)|Line 21 .* role 'usr'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, rows: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        load_task(TaskConfig(name=put(tmp_path / "rows.jsonl", rows)))


def test_a_file_is_a_folder_with_train_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    put(tmp_path / "folder" / "train.jsonl", PROMPTS)
    alone = load_task(TaskConfig(name=put(tmp_path / "rows.jsonl", PROMPTS)))
    inside = load_task(TaskConfig(name=f"files:{tmp_path / 'folder'}"))
    assert (alone.train, alone.dev, alone.test) == (inside.train, inside.dev, inside.test)
    assert {len(alone.dev), len(alone.test)} <= {1, 2}
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(LoraJaxError, match=r"rows\.txt ends with none of \.jsonl"):
        load_task(TaskConfig(name=f"files:{tmp_path / 'rows.txt'}"))


@pytest.mark.parametrize("rows", [PROMPTS, ORDERS], ids=["prompts", "instructions"])
def test_a_prompt_asked_as_a_user_is_that_conversation(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows are those of the same questions and answers written as messages."""
    tokenizer = write_model(tmp_path / "model", TEMPLATE)
    asked = load_task(TaskConfig(name=put(tmp_path / "rows.jsonl", rows), chat=True))
    as_messages = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": row.get("prompt")
                    or row["instruction"] + ("\n\n" + row["input"] if row["input"] else ""),
                },
                {"role": "assistant", "content": (row.get("completion") or row["output"]).strip()},
            ]
        }
        for row in rows
    ]
    written = load_task(TaskConfig(name=put(tmp_path / "messages.jsonl", as_messages)))
    found, wanted = (encode_generation(task.train, tokenizer, 256) for task in (asked, written))
    assert [row.tolist() for row in found.tokens] == [row.tolist() for row in wanted.tokens]
    assert found.n_prompt_N.tolist() == wanted.n_prompt_N.tolist()
    assert not any("Alpaca" in note for note in asked.notes)


def test_labels_are_not_asked_as_a_user(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match="has labels and no completions"):
        load_task(TaskConfig(name=put(tmp_path / "rows.jsonl", LABELS), chat=True))


def test_a_template_that_drops_or_misplaces_words_is_refused(tmp_path: Path) -> None:
    task = load_task(TaskConfig(name=put(tmp_path / "rows.jsonl", CHATS)))
    silent = TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
    with pytest.raises(LoraJaxError, match="leaves out what the system says"):
        encode_generation(task.train, write_model(tmp_path / "silent", silent), 256)
    elsewhere = TEMPLATE.replace("<|eot|>", "{% generation %}<|eot|>{% endgeneration %}")
    with pytest.raises(LoraJaxError, match=r"has {% generation %} without the answer"):
        encode_generation(task.train, write_model(tmp_path / "elsewhere", elsewhere), 256)
