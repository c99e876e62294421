"""Greedy text of every architecture is that of transformers, token for token (tests/golden/models)."""

from pathlib import Path

import numpy as np
import pytest

from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.huggingface.checkpoints.folder import load_folder

pytestmark = pytest.mark.committed
MODELS = Path(__file__).parents[1] / "golden" / "models"
DECODERS = sorted(path.name for path in MODELS.iterdir() if not path.name.startswith("bert"))


FAST = ("gpt2", "llama")


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in DECODERS]
)
def test_greedy_text_is_that_of_transformers(name: str) -> None:
    loaded = load_folder(MODELS / name)
    golden = np.load(MODELS / name / "golden.npz")
    n_prompt = golden["tokens"].shape[1] - 8
    theirs = golden["greedy"]
    prompts = [row[:n_prompt].tolist() for row in golden["tokens"]]
    found = generate(Engine(loaded.config, loaded.params), prompts, theirs.shape[1])
    assert [one.tokens for one in found] == theirs.tolist()
