"""The models that a sweep trained, as Hugging Face folders. Fine-tuning can start from them."""

import json
import shutil
from pathlib import Path

from lora_jax.config import ModelConfig, RunConfig
from lora_jax.data import Dataset
from lora_jax.data.tokenizers import SEPARATORS, SubwordTokenizer
from lora_jax.digests import write_manifest
from lora_jax.errors import LoraJaxError
from lora_jax.files import write_atomically
from lora_jax.huggingface.architectures.architecture import find_architecture
from lora_jax.huggingface.checkpoints.description import describe
from lora_jax.huggingface.checkpoints.folder import save_folder
from lora_jax.model.parametrisation import as_standard, fold_multipliers
from lora_jax.params import Params


def check_savable(run: RunConfig, dataset: Dataset) -> None:
    """Check before training that the model can be saved afterwards.

    Raises:
        LoraJaxError: Its tokenizer or its shape cannot be saved.
    """
    if not isinstance(dataset.tokenizer, SubwordTokenizer):
        raise LoraJaxError(
            f"data.tokenizer is {run.data.tokenizer!r}, which has no tokenizer.json to keep with a model:"
            " choose 'bpe:SIZE', or do without --keep-models."
        )
    model = as_standard(run.model)
    describe(find_architecture(model_type(model)), model, "float32")


def save_model(folder: Path, run: RunConfig, params: Params, dataset: Dataset) -> None:
    """Write config.json, model.safetensors, the tokenizer and their digests.

    An existing folder is replaced.
    """
    check_savable(run, dataset)
    assert isinstance(dataset.tokenizer, SubwordTokenizer)
    if folder.exists():  # a process was stopped before it wrote the run's record
        shutil.rmtree(folder)
    model, weights = fold_multipliers(run.model, params)  # config.json has no place for multipliers
    save_folder(folder, model, weights, model_type(model))
    vocabulary = json.loads(dataset.tokenizer.to_json())
    separator = next(name for name in SEPARATORS if dataset.tokenizer.holds(name))
    write_atomically(folder / "tokenizer.json", json.dumps(vocabulary, ensure_ascii=False) + "\n")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": separator,
        "model_max_length": run.model.context,
    }
    write_atomically(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
    write_manifest(folder)


def model_type(model: ModelConfig) -> str:
    """Return the Hugging Face architecture of this shape: GPT-2's, Llama's or Qwen's."""
    if model.norm != "rmsnorm":
        return "gpt2"
    if model.qk_norm:
        return "qwen3"
    return "qwen2" if model.qkv_bias else "llama"
