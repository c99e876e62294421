"""A tiny encoder and a tiny language model as Hugging Face folders, and tasks of a few words as files."""

import json
from pathlib import Path
from typing import Any

import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig, TaskConfig
from lora_jax.finetuning.prepare import Prepared, prepare
from lora_jax.huggingface.checkpoints.folder import save_folder
from lora_jax.model.declare import declare
from lora_jax.params import init

GOOD, BAD = ("good", "fine", "great", "lovely"), ("bad", "poor", "dull", "awful")
FILLERS = ("a", "the", "film", "plot", "cast", "is", "was", "very", "so", "and")
WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "<eos>", *GOOD, *BAD, *FILLERS, "->")


def write_model(folder: Path, model: ModelConfig, model_type: str, special: dict[str, str]) -> Path:
    """Write a model of random weights with a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    save_folder(folder, model, init(declare(model), 0), model_type)
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if not model.causal:
        inner.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
        )
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    return folder


def write_split(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_sentences(n: int, start: int) -> list[dict[str, str]]:
    """Sentences of 3 to 8 words of which one tells the label."""
    rows = []
    for i in range(start, start + n):
        words = [FILLERS[(i * 7 + 3 * k) % len(FILLERS)] for k in range(2 + i % 6)]
        is_good = i % 2 == 0
        words.insert(i % len(words), (GOOD if is_good else BAD)[(i // 2) % 4])
        rows.append({"text": " ".join(words), "label": "pos" if is_good else "neg"})
    return rows


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models/encoder, models/decoder, tasks/words and tasks/echo."""
    return fill_places(tmp_path_factory.mktemp("finetune"))


def fill_places(root: Path) -> Path:
    shape = dict(d_model=16, n_layers=2, n_heads=2, vocab_size=len(WORDS), d_ff=32)
    write_model(
        root / "models" / "encoder", ModelConfig(**shape, context=24, **BERT), "bert", {"pad_token": "[PAD]"}
    )
    write_model(
        root / "models" / "decoder",
        ModelConfig(**shape, context=32, **LLAMA),
        "llama",
        {"eos_token": "<eos>", "pad_token": "[PAD]"},
    )
    for split, n, start in (("train", 96, 0), ("dev", 24, 200), ("test", 40, 300)):
        write_split(root / "tasks" / "words" / f"{split}.jsonl", make_sentences(n, start))
        rows = [
            {"prompt": f"{row['text']} ->", "completion": " good fine" if row["label"] == "pos" else " bad"}
            for row in make_sentences(n, start)
        ]
        write_split(root / "tasks" / "echo" / f"{split}.jsonl", rows)
    return root


@pytest.fixture(scope="session")
def classify(places: Path) -> Prepared:
    return prepare(str(places / "models" / "encoder"), task_of(places, "words"), lambda line: None)


@pytest.fixture(scope="session")
def generate(places: Path) -> Prepared:
    return prepare(str(places / "models" / "decoder"), task_of(places, "echo"), lambda line: None)


def task_of(places: Path, name: str, **changes: object) -> TaskConfig:
    fields: dict[Any, Any] = {"name": f"files:{places / 'tasks' / name}", "max_tokens": 16, **changes}
    return TaskConfig(**fields)
