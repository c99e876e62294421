"""Every published structure writes, through its cache, what it would write on reading the whole again."""

import jax
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.model.declare import declare
from lora_jax.model.presets import PRESETS, reduced
from lora_jax.model.transformer import forward
from lora_jax.params import Params, init

pytestmark = pytest.mark.slow
CAUSAL = {
    key: reduced(preset.config)
    for key, preset in PRESETS.items()
    if preset.config is not None and preset.config.causal
}
STRUCTURES = {config: key for key, config in CAUSAL.items()}
PROMPTS = [[3, 1, 4, 1, 5, 9, 2], [6], [5, 3, 5, 8]]


def write_by_hand(config: ModelConfig, params: Params, prompt: list[int], n_new: int) -> list[int]:
    run = jax.jit(forward, static_argnums=0)
    text = list(prompt)
    for _ in range(n_new):
        padded = np.zeros((1, config.context), np.int32)  # causal: what follows changes nothing
        padded[0, : len(text)] = text
        text.append(int(run(config, params, padded)[0, len(text) - 1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("config", STRUCTURES, ids=STRUCTURES.values())
def test_greedy_text_is_that_of_the_whole(config: ModelConfig) -> None:
    params = init(declare(config), 0)
    found = generate(Engine(config, params), PROMPTS, 9)
    assert [one.tokens for one in found] == [write_by_hand(config, params, prompt, 9) for prompt in PROMPTS]
