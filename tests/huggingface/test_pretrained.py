"""Models by name or folder: what comes back fits together, or is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.model.declare import declare

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 16,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e4,
    "tie_word_embeddings": True,
    "vocab_size": 12,
    "eos_token_id": 2,
}
SHAPES = {
    "model.embed_tokens.weight": (12, 8),
    "model.norm.weight": (8,),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.post_attention_layernorm.weight": (8,),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.self_attn.v_proj.weight": (4, 8),
    "model.layers.0.self_attn.o_proj.weight": (8, 8),
    "model.layers.0.mlp.gate_proj.weight": (16, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 16),
}


def make_folder(folder: Path, n_tokens: int) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()},
        folder / "model.safetensors",
    )
    words = {f"w{i}": i for i in range(n_tokens)}
    Tokenizer(models.WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    return folder


def test_a_folder_comes_with_its_tokenizer_and_a_head_drawn_from_the_seed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "llama", n_tokens=12)
    plain = load_pretrained(str(folder))
    assert plain.new == ()
    assert plain.tokenizer.eos_id == 2
    assert {path: a.shape for path, a in plain.params.items()} == {
        path: spec.shape for path, spec in declare(plain.config).items()
    }
    one, two, again = (load_pretrained(str(folder), n_classes=3, seed=seed) for seed in (0, 1, 0))
    assert one.new == ("classifier",)
    assert one.params["classifier"].shape == (8, 3)
    same = {path for path in one.params if np.array_equal(one.params[path], two.params[path])}
    assert same == plain.params.keys()
    assert np.array_equal(one.params["classifier"], again.params["classifier"])


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(tmp_path: Path) -> None:
    load_pretrained(str(make_folder(tmp_path / "fewer", n_tokens=11)))  # embeddings are often padded
    with pytest.raises(LoraJaxError, match=r"13 tokens.* 12"):
        load_pretrained(str(make_folder(tmp_path / "more", n_tokens=13)))


def test_a_name_is_a_fetched_model_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path))
    with pytest.raises(LoraJaxError, match=r"`lora-jax fetch minilm`"):
        load_pretrained("minilm")
    with pytest.raises(LoraJaxError, match=r"'minilmm' is neither .*nearest: 'minilm'"):
        load_pretrained("minilmm")
    make_folder(tmp_path / "models" / "minilm", n_tokens=12)
    assert load_pretrained("minilm").folder == tmp_path / "models" / "minilm"
