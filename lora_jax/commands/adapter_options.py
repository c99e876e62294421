"""What commands share: adapter files or peft folders, and the base that they belong to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lora_jax.errors import LoraJaxError

if TYPE_CHECKING:  # `lora-jax --help` needs no package
    from collections.abc import Sequence

    from lora_jax.generation.engine import Engine
    from lora_jax.huggingface.pretrained import Pretrained
    from lora_jax.huggingface.tokenizer import HFTokenizer
    from lora_jax.params import Params
    from lora_jax.peft.method import MethodConfig


class OnBase(NamedTuple):
    """An adapter and its base, loaded.

    replaced: paths of `base.params` that are not in the base's folder: modules that the adapter holds whole,
    and weights that were drawn.
    """

    base: Pretrained
    config: MethodConfig
    trainable: Params
    replaced: frozenset[str]


def add_adapter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "adapter", type=Path, help="adapter file (.safetensors) of a run, or a folder written by peft"
    )
    parser.add_argument(
        "--base", required=True, help="the base model: minilm, smollm2, or a Hugging Face folder"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")


def load_on_base(adapter: Path, base: str) -> OnBase:
    """Load both; raises LoraJaxError where they are not there or do not belong together."""
    from lora_jax.huggingface.adapters.attaching import attach_adapter
    from lora_jax.huggingface.pretrained import load_pretrained
    from lora_jax.peft.checkpoint import load_adapter, read_shapes

    if adapter.is_dir():
        pretrained = load_pretrained(base, n_classes=_count_classes(adapter))
        found = attach_adapter(adapter, pretrained)
        return OnBase(found.base, found.method, found.trainable, found.replaced)
    if not adapter.exists():
        raise LoraJaxError(f"there is no adapter {adapter}: give a .safetensors of a run, or a peft folder.")
    classifier = read_shapes(adapter).get("classifier")
    pretrained = load_pretrained(base, n_classes=classifier[-1] if classifier else None)
    config, trainable = load_adapter(adapter, pretrained.fingerprint, pretrained.config)
    return OnBase(pretrained, config, trainable, frozenset(pretrained.new) - trainable.keys())


def load_engine(model: str, adapters: Sequence[Path]) -> tuple[Engine, HFTokenizer]:
    """Return an engine of a model, by itself or with adapters, and its tokenizer.

    Raises:
        LoraJaxError: what is not there, does not belong together, or predicts no words.
    """
    from lora_jax.generation import adapters as stacked
    from lora_jax.huggingface.pretrained import load_pretrained
    from lora_jax.runs.execute import use_compilation_cache

    use_compilation_cache()
    if not adapters:
        base = load_pretrained(model)
        return stacked.load_engine(base.config, base.params), base.tokenizer
    found = [load_on_base(adapter, model) for adapter in adapters]
    base = found[0].base
    for one in found[1:]:
        if one.base.fingerprint != base.fingerprint:
            raise LoraJaxError(
                f"Some of the {len(found)} adapters replace weights of {model}, but adapters that run"
                " side by side must share the base: load them one at a time."
            )
    pairs = [(one.config, one.trainable) for one in found]
    return stacked.load_engine(base.config, base.params, pairs), base.tokenizer


def _count_classes(folder: Path) -> int | None:
    """Return the classes of the head in a peft folder; None where it has no classification head."""
    from safetensors import safe_open

    from lora_jax.foreign import reading_tensors

    path = folder / "adapter_model.safetensors"
    with reading_tensors(path, "give a folder that peft saved"), safe_open(path, framework="numpy") as file:
        names = file.keys()  # it is no mapping that could be gone through
        heads = [name for name in names if name.endswith(("classifier.weight", "score.weight"))]
        return file.get_slice(heads[0]).get_shape()[0] if heads else None
