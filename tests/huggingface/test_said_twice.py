"""One thing said in two places of a folder: as transformers takes it, or refused with both places named.

tests/parity/test_config_keys.py compares the same kinds with transformers live.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from lora_jax.config import ModelConfig, RopeScaling
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import find_architecture
from lora_jax.huggingface.checkpoints.folder import load_folder, save_folder
from lora_jax.huggingface.checkpoints.shards import INDEX, WHOLE
from lora_jax.model.untie import untie

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
SIZES: dict[str, Any] = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=24,
    vocab_size=64,
    max_position_embeddings=8192,
)
YARN = {"rope_type": "yarn", "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
SCALING = RopeScaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=32)


def read(model_type: str, **fields: Any) -> ModelConfig:
    return find_architecture(model_type).read_config(SIZES | fields, None)


def parameters(theta: float, **fields: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta, **fields}


def test_rope_scaling_stands_in_place_of_rope_parameters() -> None:
    beside = read("llama", rope_parameters=parameters(1e4), rope_scaling=LLAMA3)
    assert (beside.rope_theta, beside.rope_scaling) == (1e4, SCALING)
    assert read("llama", rope_scaling=LLAMA3, rope_theta=5e5).rope_theta == 5e5
    assert read("llama", rope_parameters=parameters(5e5), rope_scaling={}).rope_theta == 5e5
    with pytest.raises(LoraJaxError, match="by 'yarn'"):
        read("llama", rope_parameters=parameters(1e4), rope_scaling=YARN)


@pytest.mark.parametrize(
    ("model_type", "fields", "words"),
    [
        ("llama", dict(rope_theta=5e5, rope_parameters=parameters(1e4)), "theta.*10000.*rope_theta 500000"),
        ("llama", dict(rope_scaling=LLAMA3, rope_parameters=parameters(5e5)), r"rope_parameters\.rope_theta"),
        ("llama", dict(rope_scaling=LLAMA3, original_max_position_embeddings=16), "original context"),
        ("gpt_neox", dict(rotary_emb_base=500, rope_parameters=parameters(1e4)), "rotary_emb_base 500"),
        ("gpt_neox", dict(rope_theta=500), "theta.*10000.*rope_theta 500"),
        (
            "gpt_neox",
            dict(rotary_pct=0.5, rope_parameters=parameters(1e4, partial_rotary_factor=1.0)),
            r"rotated more than once.*1\.0.*rotary_pct 0\.5",
        ),
        ("gpt2", dict(n_embd=8), "n_embd more than once"),
        ("qwen2", dict(layer_types=["full_attention", "sliding_attention"]), "no window for them"),
        ("llama", dict(tie_word_embeddings="false"), "must be true or false"),
        ("qwen3", dict(head_dim=None), "head_dim None"),
    ],
)
def test_two_places_that_disagree_are_named(model_type: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        read(model_type, **fields)


def test_names_of_neox_before_and_after_transformers_5() -> None:
    old = read("gpt_neox", rotary_pct=0.5, rotary_emb_base=500)
    assert (old.rope_fraction, old.rope_theta) == (0.5, 500)
    assert read("gpt_neox", hidden_size=32).rope_fraction == 0.25
    assert read("gpt_neox", rotary_pct=1.0, rope_parameters=parameters(1e4)).rope_fraction == 1.0
    scaled = read("gpt_neox", rotary_pct=1.0, rope_scaling=LLAMA3)
    assert (scaled.rope_fraction, scaled.rope_scaling) == (1.0, SCALING)


@pytest.mark.parametrize(
    ("model_type", "fields", "context"),
    [
        ("mistral", {}, 4096),  # the default of transformers' MistralConfig
        ("mistral", dict(sliding_window=None), 8192),
        ("mistral", dict(sliding_window=8, use_sliding_window=False), 8),  # Mistral has no such switch
        ("llama", {}, 8192),
        ("qwen2", dict(sliding_window=8), 8192),  # use_sliding_window is false by default
        ("qwen2", dict(sliding_window=8, use_sliding_window=True), 8192),  # in layers 28 and up
        ("qwen2", dict(sliding_window=8, use_sliding_window=True, max_window_layers=1), 8),
        ("qwen3", dict(use_sliding_window=True, max_window_layers=0), 4096),
        ("qwen3", dict(use_sliding_window=True, sliding_window=8, layer_types=["full_attention"] * 2), 8192),
    ],
)
def test_a_window_is_where_transformers_has_it(model_type: str, fields: dict[str, Any], context: int) -> None:
    assert read(model_type, **fields).context == context


def test_a_key_that_is_absent_is_transformers_default() -> None:
    for model_type, kv_heads, context in (("mistral", 8, 4096), ("qwen2", 32, 32768), ("llama", 32, 2048)):
        config = find_architecture(model_type).read_config({}, None)
        assert (config.kv_heads, config.context, config.n_heads) == (kv_heads, context, 32)
    assert find_architecture("gpt2").read_config({}, None).n_layers == 12
    assert find_architecture("qwen3").read_config({}, None).head_dim == 128


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(quantization_config={"bits": 4}), "quantization_config"),
        (dict(per_layer_config={"0": {}}), "per_layer_config"),
        (dict(is_causal=False), "is_causal False"),
    ],
)
def test_what_would_be_another_model_is_refused(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    folder = tmp_path / "a"
    shutil.copytree(GOLDEN / "gpt2", folder)
    source = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(source))
    with pytest.raises(LoraJaxError, match=words):
        load_folder(folder)


def test_an_adapter_beside_a_model_is_refused(tmp_path: Path) -> None:
    """transformers would load both."""
    shutil.copytree(GOLDEN / "gpt2", tmp_path / "a")
    (tmp_path / "a" / "adapter_config.json").write_text("{}")
    with pytest.raises(LoraJaxError, match="holds a model and an adapter"):
        load_folder(tmp_path / "a")


def test_one_file_goes_before_an_index(tmp_path: Path) -> None:
    """As in transformers; and a tensor in two shards is refused, which of them is meant nobody knows."""
    checkpoint = load_folder(GOLDEN / "qwen3")
    folder = save_folder(tmp_path / "a", *checkpoint[:3], shard_bytes=4000)
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    merged = {name: tensor for path in shards for name, tensor in load_file(path).items()}
    changed = {name: tensor * 2 for name, tensor in merged.items()}
    save_file(changed, folder / WHOLE, metadata={"format": "pt"})
    params = load_folder(folder).params
    assert (params["embed/tokens"] == 2 * checkpoint.params["embed/tokens"]).all()
    (folder / WHOLE).unlink()
    assert (load_folder(folder).params["embed/tokens"] == checkpoint.params["embed/tokens"]).all()
    name = next(iter(load_file(shards[0])))
    save_file(load_file(shards[1]) | {name: merged[name]}, shards[1], metadata={"format": "pt"})
    with pytest.raises(LoraJaxError, match=f"holds {name}, which another file of {INDEX}"):
        load_folder(folder)


def test_a_config_that_still_describes_the_model_is_kept_to_the_key(tmp_path: Path) -> None:
    """What it leaves out stays left out: an explicit null would be another model in transformers."""
    checkpoint = load_folder(GOLDEN / "mistral")
    source = {**checkpoint.source, "max_position_embeddings": 32768, "sliding_window": 72}
    del source["eos_token_id"]
    kept = json.loads(
        (save_folder(tmp_path / "a", *checkpoint[:3], source=source) / "config.json").read_text()
    )
    del source["dtype"]
    assert kept == source | {"torch_dtype": "float32"}


def test_an_untied_head_is_said_and_nothing_else_changes(tmp_path: Path) -> None:
    checkpoint = load_folder(GOLDEN / "llama3_tied")
    config, params = untie(checkpoint.config, checkpoint.params)
    folder = save_folder(tmp_path / "a", config, params, "llama", source=checkpoint.source)
    written = json.loads((folder / "config.json").read_text())
    assert written["tie_word_embeddings"] is False
    assert written["rope_parameters"] == checkpoint.source["rope_parameters"]
    assert load_folder(folder).config == config
