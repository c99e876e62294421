import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.generation.engine import Engine
from lora_jax.model.declare import declare
from lora_jax.params import init

MODEL = ModelConfig(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=37, context=400, **LLAMA)


def draw_prompts(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(MODEL.vocab_size, size=n).tolist() for n in lengths]


@pytest.fixture(scope="session")
def params():
    return {path: 3 * weight for path, weight in init(declare(MODEL), 0).items()}  # sharper than at the start


@pytest.fixture(scope="session")
def engine(params):
    return Engine(MODEL, params)
