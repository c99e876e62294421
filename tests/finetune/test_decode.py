"""Greedy completions are what one forward pass a token gives, for every prompt of a batch by itself."""

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.finetune.decode import complete_greedily
from lora_jax.finetune.prepare import Prepared
from lora_jax.model.transformer import forward
from lora_jax.params import combine
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.prefix import Prefix
from lora_jax.peft.methods.subset import Full

END = 4


@pytest.mark.parametrize("method", [Full(), Prefix(length=3)], ids=lambda method: type(method).__name__)
def test_completions_equal_those_of_one_prompt_at_a_time(generate: Prepared, method) -> None:
    built = method.build(generate.model)
    adapted = adapt(generate.base, built, 0)
    prompts = [np.arange(5, 5 + n, dtype=np.int32) for n in (1, 9, 4)]
    found = complete_greedily(generate.model, method, adapted, prompts, 6, END, batch_size=2)
    params = combine(adapted.trainable, adapted.frozen)
    for prompt, completion in zip(prompts, found, strict=True):
        tokens = prompt.tolist()
        for _ in range(6):
            logits = forward(generate.model, params, jnp.asarray([tokens]), built.hooks)
            best = int(logits[0, -1].argmax())
            if best == END:
                break
            tokens.append(best)
        assert completion == tokens[len(prompt) :]


@pytest.mark.parametrize("n", [0, 32])
def test_a_prompt_without_tokens_or_without_room_is_refused(generate: Prepared, n: int) -> None:
    adapted = adapt(generate.base, Full().build(generate.model), 0)
    with pytest.raises(LoraJaxError, match=f"a prompt has {n} tokens"):
        complete_greedily(generate.model, Full(), adapted, [np.ones(n, np.int32)], 2, END)
