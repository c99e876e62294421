"""The class of a weight follows from its Spec, for every model and method."""

from typing import Any

import pytest

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.model.declare import declare
from lora_jax.peft.methods import find_methods
from lora_jax.weight_class import WeightClass, classify

SHAPE: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=2, vocab_size=32, context=32)
MODELS = {
    "gpt2": ModelConfig(**SHAPE),
    "untied": ModelConfig(**SHAPE, tied_head=False),
    "llama": ModelConfig(**SHAPE, **LLAMA, qk_norm=True, n_kv_heads=1),
    "t5": ModelConfig(**SHAPE, positions="t5"),
    "transformer_xl": ModelConfig(**SHAPE, positions="transformer_xl"),
    "bert": ModelConfig(**SHAPE, **BERT, n_classes=2),
}


@pytest.mark.parametrize("name", MODELS)
def test_names_and_classes_agree(name: str) -> None:
    for path, spec in declare(MODELS[name]).items():
        found = classify(spec)
        if path in ("embed/tokens", "embed/positions", "embed/types", "relative_bias"):
            assert found is WeightClass.EMBEDDING, path
        elif path in ("head", "classifier"):
            assert found is WeightClass.READOUT, path
        elif path.endswith(("bias", "scale")):
            assert found is WeightClass.VECTOR, path
        else:
            assert found is WeightClass.MATRIX, path


@pytest.mark.parametrize("name", sorted(set(find_methods()) - {"Combined", "VeRA"}))
def test_what_contracts_has_inputs(name: str) -> None:
    method = find_methods()[name]().build(MODELS["gpt2"])
    for path in method.trainable:
        spec = method.specs[path]
        is_product = classify(spec) in (WeightClass.MATRIX, WeightClass.READOUT)
        assert (spec.fan_in > 1) >= is_product, path
        n_layers = dict(spec.axes).get("layers", 1)
        assert spec.size == spec.fan_in * spec.fan_out * n_layers, path
