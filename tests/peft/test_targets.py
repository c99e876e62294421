"""Targets bite, or say what there is; a tied head is untied first."""

import jax
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.model.untie import untie
from lora_jax.params import Params
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.targets import find_targets


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("q", "v"), ["blocks/attn/q", "blocks/attn/v"]),
        (("mlp",), ["blocks/mlp/up", "blocks/mlp/down", "blocks/mlp/gate"]),
        (("attn/[qo]",), ["blocks/attn/q", "blocks/attn/o"]),
        (("blocks/mlp/*", "down"), ["blocks/mlp/up", "blocks/mlp/down", "blocks/mlp/gate"]),
        (("head", "embedding"), ["head", "embed/tokens"]),
    ],
)
def test_what_a_pattern_names(
    patterns: tuple[str, ...], wanted: list[str], models: dict[str, ModelConfig]
) -> None:
    assert find_targets(declare(models["llama"]), patterns) == wanted


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("q", "dwn"), r"'dwn' matches no matrix \(nearest: 'down'\); there are .*q \(2 x 16 x 2 x 8\)"),
        (("gate",), "'gate' matches no matrix"),
        (("attn/*",), r"'attn/\*' half-matches: blocks/attn/q_bias is no matrix .* there are"),
        (("head",), r"'head' names a head that is tied .* untie it first .*lora_jax\.model\.untie"),
        (("embedding",), "tied to the embedding"),
        ((), "no targets were given: name at least one of"),
    ],
)
def test_a_target_that_does_not_bite(
    targets: tuple[str, ...], message: str, models: dict[str, ModelConfig]
) -> None:
    with pytest.raises(LoraJaxError, match=message):
        LoRA(targets=targets).build(models["gpt2"])


def test_a_rank_or_alpha_of_no_target_is_named(models: dict[str, ModelConfig]) -> None:
    with pytest.raises(LoraJaxError, match=r"LoRA\.ranks has the pattern 'k', which names none"):
        LoRA(ranks=(("k", 2),)).build(models["gpt2"])
    with pytest.raises(LoraJaxError, match=r"LoRA\.alphas has the pattern 'o', which names none"):
        LoRA(alphas=(("o", 2.0),)).build(models["gpt2"])
    with pytest.raises(LoraJaxError, match=r"rank 17 of blocks/attn/q is not between 1 and 16"):
        LoRA(rank=17).build(models["gpt2"])


def test_untying_keeps_the_function_and_frees_the_head(
    models: dict[str, ModelConfig], bases: dict[str, Params], tokens_BT: jax.Array
) -> None:
    model, params = untie(models["gpt2"], bases["gpt2"])
    assert {p: s.shape for p, s in declare(model).items()} == {p: w.shape for p, w in params.items()}
    before = forward(models["gpt2"], bases["gpt2"], tokens_BT)
    np.testing.assert_array_equal(forward(model, params, tokens_BT), before)
    assert "head_lora_a" in LoRA(targets=("head",)).build(model).specs
    with pytest.raises(LoraJaxError, match="nothing to untie"):
        untie(model, params)
