"""The real SmolLM2 and MiniLM, fetched as a user fetches them, against transformers on the same folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lora_jax.cli import main
from lora_jax.huggingface.packages import find_model
from lora_jax.huggingface.pretrained import Pretrained, load_pretrained
from lora_jax.model.transformer import Inputs, forward

pytestmark = [pytest.mark.parity, pytest.mark.slow]

TEXTS = [
    "The capital of France is",
    "In 1984, 12,345 people didn't like it; don't ask why...",
    "  def f(x):\n\treturn x ** 2  # naïve",
    "Größe, 日本語, здравствуйте, 🙂🏽!",
    "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n",
    "a gripping [MASK] film , though overlong",
    "",
]
PAIR = ("A man is eating.", "Somebody eats, slowly.")


@pytest.fixture(scope="module")
def load() -> Callable[[str], Pretrained]:
    """Return `load(name)`, by the fetch command and then from the cache."""
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package, reason=f"parity on real models needs {package}")
    loaded: dict[str, Pretrained] = {}

    def call(name: str) -> Pretrained:
        if name not in loaded:
            if main(["fetch", name]) != 0:
                pytest.skip(f"{name} is not in the cache and could not be fetched")
            loaded[name] = load_pretrained(name)
        return loaded[name]

    return call


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_the_tokenizer_is_theirs(load: Callable[[str], Pretrained], name: str) -> None:
    from transformers import AutoTokenizer

    ours = load(name).tokenizer
    theirs = AutoTokenizer.from_pretrained(find_model(name))
    for text in TEXTS:
        ids, types = ours.encode(text)
        assert ids == theirs(text)["input_ids"]
        assert types == [0] * len(ids)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    ids, types = ours.encode(*PAIR)
    both = theirs(*PAIR, return_token_type_ids=True)
    assert (ids, types if name == "minilm" else both["token_type_ids"]) == (
        both["input_ids"],
        both["token_type_ids"],
    )
    assert (ours.bos_id, ours.eos_id, ours.pad_id) == (
        theirs.bos_token_id,
        theirs.eos_token_id,
        theirs.pad_token_id,
    )


def test_smollm2_gives_the_logits_of_transformers(load: Callable[[str], Pretrained]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = load("smollm2")
    rows = [model.tokenizer.encode(text)[0][:16] for text in TEXTS if len(text) > 40]
    T = min(len(row) for row in rows)
    tokens_BT = np.array([row[:T] for row in rows])
    ours = np.asarray(forward(model.config, model.params, tokens_BT))
    theirs = _load(AutoModelForCausalLM, model.folder)
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens_BT)).logits.numpy()
    np.testing.assert_allclose(_log_softmax(ours), _log_softmax(wanted), atol=1e-4)
    np.testing.assert_allclose(ours, wanted, atol=1e-4)
    paris = model.tokenizer.encode(TEXTS[0])[0]
    last_V = np.asarray(forward(model.config, model.params, np.array([paris])))[0, -1]
    assert model.tokenizer.decode([last_V.argmax()]) == " Paris"


def test_minilm_gives_the_hidden_states_of_transformers_with_padding(
    load: Callable[[str], Pretrained],
) -> None:
    import torch
    from transformers import AutoModel

    model = load("minilm")
    encoded = [model.tokenizer.encode(text) for text in TEXTS] + [model.tokenizer.encode(*PAIR)]
    T = max(len(ids) for ids, _ in encoded)
    real_BT, tokens_BT, types_BT = np.zeros((3, len(encoded), T), np.int32)
    tokens_BT += model.tokenizer.pad_id
    for row, (ids, types) in enumerate(encoded):
        tokens_BT[row, : len(ids)], types_BT[row, : len(ids)], real_BT[row, : len(ids)] = ids, types, 1
    ours = np.asarray(
        forward(model.config, model.params, Inputs(tokens_BT, segments_BT=real_BT, types_BT=types_BT))
    )
    theirs = _load(AutoModel, model.folder)
    with torch.no_grad():
        wanted = theirs(
            input_ids=torch.tensor(tokens_BT),
            attention_mask=torch.tensor(real_BT),
            token_type_ids=torch.tensor(types_BT),
        ).last_hidden_state.numpy()
    assert real_BT.min() == 0
    np.testing.assert_allclose(ours[real_BT == 1], wanted[real_BT == 1], atol=1e-4)


def _load(kind, folder: Path):
    import torch

    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
