"""A run on conversations: rendered by the base's template, with the loss on the answers alone."""

import json
import shutil
from pathlib import Path

import pytest

from lora_jax.config import TaskConfig
from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneConfig, TuneConfig
from lora_jax.finetuning.loop import finetune
from lora_jax.finetuning.prepare import prepare
from lora_jax.peft.methods.subset import Full

from .conftest import make_sentences, write_split

TEMPLATE = "{% for m in messages %}{{ m.content }}{{ ' -> ' if m.role == 'user' else ' <eos>' }}{% endfor %}"


def write_chats(folder: Path) -> TaskConfig:
    for split, n, start in (("train", 96, 0), ("valid", 24, 200), ("test", 40, 300)):
        rows = [
            {
                "messages": [
                    {"role": "user", "content": row["text"]},
                    {"role": "assistant", "content": "good fine" if row["label"] == "pos" else "bad"},
                ]
            }
            for row in make_sentences(n, start)
        ]
        write_split(folder / f"{split}.jsonl", rows)  # pyright: ignore[reportArgumentType]
    return TaskConfig(name=f"files:{folder}", max_tokens=16)


def test_a_model_learns_to_answer(places: Path, tmp_path: Path) -> None:
    base = shutil.copytree(places / "models" / "decoder", tmp_path / "base")
    task = write_chats(tmp_path / "chats")
    with pytest.raises(LoraJaxError, match="the base has no chat template"):
        prepare(str(base), task, lambda line: None)
    (base / "chat_template.jinja").write_text(TEMPLATE)
    said: list[str] = []
    prepared = prepare(str(base), task, said.append)
    assert any("chat template" in line for line in said)
    row, n = prepared.train.tokens[0], prepared.train.n_prompt_N[0]
    tokenizer = prepared.pretrained.tokenizer
    first = json.loads(prepared.task.train[0].text)[0]["content"]
    assert tokenizer.decode(row[:n]) == f"{first} ->"
    assert tokenizer.decode(row[n:], special=True) == f"{prepared.task.train[0].completion} <eos>"
    config = FinetuneConfig(
        base=str(base),
        task=task,
        method=Full(),
        label="full",
        optim=TuneConfig(learning_rate=1e-2, batch_size=16, epochs=12, evaluations=3),
    )
    result = finetune(config, prepared, tmp_path / "run", lambda: False)
    assert result.test is not None
    assert result.completions is not None
    assert result.test.scores["rouge_l"]["value"] > 0.9
    assert {"good fine", "bad"} >= set(result.completions)
