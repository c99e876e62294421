"""How many tokens a second a model completes prompts with, greedily."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lora_jax.bench.figures import Figure, Row, Section
from lora_jax.bench.steps import VOCABULARY, Shape
from lora_jax.bench.timing import Say, interleave
from lora_jax.finetune.decode import complete_greedily
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.peft.method import Adapted
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.stacking import adapt_all

SHAPE = Shape(128, 4, 128, 1)
BATCHES = (1, 16)
N_PROMPT, N_NEW = 32, 32
END = VOCABULARY - 1
METHOD = LoRA(rank=8)


def measure_generation(
    repeats: int, say: Say, shape: Shape = SHAPE, batches: Sequence[int] = BATCHES, n_new: int = N_NEW
) -> tuple[Section, ...]:
    """Time the completion of prompts of one length by a model with an adapter, at each size of batch."""
    adapted = make_model(shape)
    say(f"generation: {shape.label}, batches of {' and '.join(map(str, batches))}")
    prompts = np.random.default_rng(0).integers(END, size=(max(batches), N_PROMPT)).astype(np.int32)

    def complete(batch: int) -> None:
        found = complete_greedily(shape.model, METHOD, adapted, list(prompts[:batch]), n_new, END, batch)
        assert [len(row) for row in found] == [n_new] * batch, "the model said the end token"

    seconds = interleave({str(batch): lambda batch=batch: complete(batch) for batch in batches}, repeats)
    rows = tuple(
        Row(
            f"batch {batch}",
            {
                "d_model": shape.d_model,
                "n_layers": shape.n_layers,
                "prompt": N_PROMPT,
                "new": n_new,
                "batch": batch,
            },
            (
                Figure("tokens/s", "tokens/s", tuple(batch * n_new / s for s in seconds[str(batch)])),
                Figure("a token of each", "ms", tuple(1e3 * s / n_new for s in seconds[str(batch)])),
            ),
        )
        for batch in batches
    )
    note = (
        f"d {shape.d_model} x {shape.n_layers} with LoRA, prompts of {N_PROMPT} tokens, {n_new} new ones."
        " Without a cache of keys and values: each new token is a whole forward pass."
    )
    return (Section("generation", "Greedy completion", rows, note=note),)


def make_model(shape: Shape) -> Adapted:
    """Return random weights that never say the end token: its logit is 0, and some other's is above it."""
    base = init(declare(shape.model), 0)
    base["embed/tokens"] = base["embed/tokens"].at[END].set(0)
    (adapted,) = adapt_all(base, [{}], [METHOD.build(shape.model)], [0])
    return Adapted(jax.tree.map(jnp.asarray, adapted.trainable), adapted.frozen)
