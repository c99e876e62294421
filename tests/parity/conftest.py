"""Tiny random checkpoints of every architecture, made by transformers, and a peft that may say nothing.

Needs torch, transformers and peft, which the development environment lacks: without them every test here is
skipped. CONTRIBUTING.md has the command that runs them.
"""

import logging
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

D_MODEL, N_LAYERS, N_HEADS, N_KV_HEADS, D_FF, VOCAB, CONTEXT, N_CLASSES = 32, 3, 4, 2, 48, 96, 32, 3
HIDDEN: dict[str, Any] = dict(
    hidden_size=D_MODEL,
    num_hidden_layers=N_LAYERS,
    num_attention_heads=N_HEADS,
    intermediate_size=D_FF,
    vocab_size=VOCAB,
    max_position_embeddings=CONTEXT,
    attn_implementation="eager",
)
DECODER: dict[str, Any] = dict(bos_token_id=0, eos_token_id=0)
FAMILIES = ("gpt2", "llama", "qwen2", "gpt_neox", "bert")


def make_config(family: str) -> Any:
    """Return transformers' configuration of a tiny model of that family, without dropout."""
    import transformers as t

    if family == "gpt2":
        return t.GPT2Config(
            n_embd=D_MODEL,
            n_layer=N_LAYERS,
            n_head=N_HEADS,
            vocab_size=VOCAB,
            n_positions=CONTEXT,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            attn_implementation="eager",
            **DECODER,
        )
    if family == "llama":
        return t.LlamaConfig(
            num_key_value_heads=N_KV_HEADS, tie_word_embeddings=False, rms_norm_eps=1e-5, **HIDDEN, **DECODER
        )
    if family == "qwen2":
        return t.Qwen2Config(
            num_key_value_heads=N_KV_HEADS, tie_word_embeddings=True, rms_norm_eps=1e-6, **HIDDEN, **DECODER
        )
    if family == "gpt_neox":
        return t.GPTNeoXConfig(
            rotary_pct=0.25,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            tie_word_embeddings=False,
            **HIDDEN,
            **DECODER,
        )
    return t.BertConfig(
        num_labels=N_CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **HIDDEN
    )


def randomise(model: Any, seed: int) -> None:
    """Draw every parameter anew, so that none is trivially 0 or 1 and each one shows in the logits."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_scale = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_norm_scale else 0.2 * noise)


class Tiny(NamedTuple):
    """A checkpoint of transformers in a folder, what we read there, and tokens to run both on."""

    family: str
    folder: Path
    config: Any  # ModelConfig
    params: dict[str, Any]
    tokens: np.ndarray  # (2, 12) int

    @property
    def is_classifier(self) -> bool:
        return self.family == "bert"

    def load(self) -> Any:
        """Return transformers' model anew: peft changes the one it is given."""
        import transformers as t

        auto = t.AutoModelForSequenceClassification if self.is_classifier else t.AutoModelForCausalLM
        return auto.from_pretrained(self.folder, attn_implementation="eager").eval()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """Return `tiny(family)`, each checkpoint made once."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason=f"parity with peft needs {package}")
    import transformers as t

    from lora_jax.huggingface.checkpoints.folder import load_folder

    made: dict[str, Tiny] = {}

    def make(family: str) -> Tiny:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            kind = t.AutoModelForSequenceClassification if family == "bert" else t.AutoModelForCausalLM
            model = kind.from_config(make_config(family))
            randomise(model, seed=FAMILIES.index(family))
            model.save_pretrained(folder)
            tokens = np.random.default_rng(7).integers(VOCAB, size=(2, 12))
            loaded = load_folder(folder, n_classes=N_CLASSES if family == "bert" else None)
            made[family] = Tiny(family, folder, loaded.config, loaded.params, tokens)
        return made[family]

    return make


@contextmanager
def nothing_said() -> Generator[None]:
    """Fail where a warning is raised or logged at WARNING or above by anybody."""
    said: list[str] = []

    class Listen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listen(logging.WARNING)
    loggers = [logging.getLogger(name) for name in (None, "transformers", "peft", "huggingface_hub")]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # peft's own use of transformers, whatever the adapter
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
    assert not said, said


@pytest.fixture
def load_with_peft() -> Callable[[Any, Path], Any]:
    """Return `load(model, folder)`: peft's model, loaded without a word and without a key too few or many."""

    def load(model: Any, folder: Path) -> Any:
        import peft

        with nothing_said():
            adapted = peft.PeftModel.from_pretrained(model, folder)
            weights = peft.utils.save_and_load.load_peft_weights(str(folder), device="cpu")
            result = peft.set_peft_model_state_dict(adapted, weights)
        assert result.unexpected_keys in ([], ["prompt_embeddings"])  # prompts are set on a path of their own
        added = [
            key for key in result.missing_keys if any(n in key for n in ("lora_", "ia3_l", "vera_lambda"))
        ]
        assert not added
        return adapted.eval()

    return load
