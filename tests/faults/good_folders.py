"""Small folders of every kind in which nothing is wrong, for others to damage."""

from pathlib import Path

import jax

from lora_jax.comparison.folder import write_comparison
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.params import init
from lora_jax.peft.methods.lora import LoRA
from tests.finetuning.conftest import WORDS, make_sentences, write_model, write_split
from tests.report.conftest import write_folder as write_results
from tests.report.method_folder import make_records, write_folder


def make_places(root: Path) -> dict[str, Path]:
    """Return folders by kind: those of `make_small_places`, and results, and methods."""
    write_results(root / "results")
    write_folder(root / "methods", make_records(20))
    write_comparison(root / "methods")
    return make_small_places(root) | {kind: root / kind for kind in ("results", "methods")}


def make_small_places(root: Path) -> dict[str, Path]:
    """Return folders by kind: model (and base, the same), adapter, task."""
    shape = dict(d_model=16, n_layers=2, n_heads=2, vocab_size=len(WORDS), d_ff=32)
    write_model(
        root / "model",
        ModelConfig(**shape, context=32, **LLAMA),
        "llama",
        {"eos_token": "<eos>", "pad_token": "[PAD]"},
    )
    write_task(root)
    base, method = load_pretrained(str(root / "model")), LoRA(rank=2, targets=("q", "v"))
    built = method.build(base.config)
    drawn = init({path: built.specs[path] for path in built.trainable}, 1)
    trainable = {path: jax.numpy.asarray(weight) for path, weight in drawn.items()}
    export_adapter(
        root / "adapter",
        str(base.folder),
        base.model_type,
        base.config,
        method,
        trainable,
        base.params,
        base.new,
    )
    return {kind: root / kind for kind in ("model", "adapter", "task")} | {"base": root / "model"}


def write_task(root: Path) -> Path:
    """Write the folder of a task, and return it."""
    for split, n, start in (("train", 24, 0), ("dev", 8, 200), ("test", 8, 300)):
        write_split(root / "task" / f"{split}.jsonl", make_sentences(n, start))
    return root / "task"
