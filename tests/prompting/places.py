"""A tiny decoder and encoder with a byte-level tokenizer as folders, and tasks of a few words as files."""

import json
from pathlib import Path
from typing import Any

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.huggingface.checkpoints.folder import save_folder
from lora_jax.huggingface.tokenizer import HFTokenizer
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.prompting.prompt import Prompt

CONTEXT = 160
FEEL = Prompt("Text: {text}\nFeeling:", ("bad", "very good"))


def make_tokenizer(*, begins: bool = False, across: bool = False) -> Any:
    """Byte-level BPE with a few merges, of line ends too.

    begins: <s> in front of a text and </s> behind it. across: words are not cut apart before they are merged,
    so that a token may reach over any border.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("Ċ", "Ċ"),
        (":", "Ġ"),
        ("g", "o"),
        ("o", "d"),
        ("go", "od"),
        ("Ġ", "good"),
        ("Ġ", "v"),
        ("d", "Ċ"),
    ]
    tokens = ["</s>", "<s>", *letters, *(a + b for a, b in merges)]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across)  # pyright: ignore[reportAttributeAccessIssue]
    inner.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    if begins:
        inner.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 0)]
        )
    return inner


def wrap(inner: Any) -> HFTokenizer:
    return HFTokenizer(inner, inner.get_vocab_size(), bos_id=None, eos_id=0, pad_id=None)


def make_places(root: Path) -> Path:
    """Fill a folder with models/decoder, models/encoder, tasks/feel and tasks/lone (no test file)."""
    inner = make_tokenizer()
    shape: dict[str, Any] = dict(
        d_model=16, n_layers=1, n_heads=2, d_ff=32, vocab_size=inner.get_vocab_size()
    )
    for name, model in (
        ("decoder", ModelConfig(**shape, context=CONTEXT, **LLAMA)),
        ("encoder", ModelConfig(**shape, context=CONTEXT, **BERT)),
    ):
        folder = root / "models" / name
        save_folder(folder, model, init(declare(model), 0), "llama" if model.causal else "bert")
        inner.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    for split, n, start in (("train", 40, 0), ("dev", 10, 100), ("test", 24, 200)):
        rows = [{"text": f"it is {i} {'good' * (i % 3)}", "label": i % 2} for i in range(start, start + n)]
        _write(root / "tasks" / "feel" / f"{split}.jsonl", rows)
    _write(root / "tasks" / "lone" / "train.jsonl", rows)
    return root


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
