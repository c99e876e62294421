"""Merging into shorter types tells what it loses; the merged program is the base's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.transformer import forward
from lora_jax.params import Params
from lora_jax.peft.merge import merge, unmerge
from lora_jax.peft.method import Adapted, adapt
from lora_jax.peft.methods.lora import LoRA

CONFIG = LoRA(rank=4, targets=("q", "v"))


def adapt_by(model: ModelConfig, base: Params, share: float) -> Adapted:
    """Return LoRA weights whose update of each matrix is `share` of the matrix in norm."""
    trainable, frozen = adapt(base, CONFIG.build(model), 0)
    for name in ("q", "v"):
        path = f"blocks/attn/{name}"
        a = np.asarray(trainable[f"{path}_lora_a"], np.float64)
        b = np.random.default_rng(0).standard_normal(trainable[f"{path}_lora_b"].shape)
        update = CONFIG.scale(path) * np.einsum("ydr,yrhk->ydhk", a, b)
        size = np.linalg.norm(np.asarray(base[path], np.float64))
        trainable[f"{path}_lora_b"] = jnp.asarray(b * share * size / np.linalg.norm(update), jnp.float32)
    return Adapted(trainable, frozen)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_rounding_takes_is_told_and_refused(
    dtype: str, models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    """A bfloat16 number has 8 bits: 17 % of an update of 1 % is lost, and an eighth of that in float16."""
    model = models["gpt2"]
    base = {path: weight.astype(dtype) for path, weight in bases["gpt2"].items()}
    adapted = adapt_by(model, base, 0.01)
    if dtype == "bfloat16":
        with pytest.raises(
            LoraJaxError, match=r"LoRA into a base of bfloat16 would lose 1\d\.\d % .*attn/[qv]"
        ):
            merge(model, base, adapted, CONFIG)
    merged = merge(model, base, adapted, CONFIG, force=dtype == "bfloat16")
    assert merged.total_lost == pytest.approx(0.17 if dtype == "bfloat16" else 0.17 / 8, rel=0.15)
    assert merged.lost.keys() == merged.originals.keys() == {"blocks/attn/q", "blocks/attn/v"}
    assert all(weight.dtype == dtype for weight in merged.params.values())
    back = unmerge(merged)
    assert {p: np.asarray(w).tobytes() for p, w in back.items()} == {
        p: np.asarray(w).tobytes() for p, w in base.items()
    }
    assert merge(model, base, adapt(base, CONFIG.build(model), 0), CONFIG).lost == {}, "nothing to lose yet"


def test_the_merged_program_is_the_bases(
    models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array
) -> None:
    model, base = models["gpt2"], bases["gpt2"]
    merged = merge(model, base, adapt_by(model, base, 0.1), CONFIG)
    assert merged.total_lost == 0.0

    def lower_text(params: Params) -> str:
        def program(params: Params, tokens_BT: jax.Array) -> jax.Array:
            return forward(model, params, tokens_BT)

        # Before it is compiled: after that the text says besides where its lines were first traced from.
        return jax.jit(program).lower(params, tokens_BT).as_text()

    texts = [lower_text(params) for params in (base, merged.params)]
    assert texts[0] == texts[1]
