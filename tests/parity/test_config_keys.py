"""Every key of a config.json against transformers: one that is absent, and one thing that is said twice.

For each architecture, transformers writes a folder; each key of its config.json in turn is deleted, or a
second place is given another value. What we then load must have transformers' logits, or be refused.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import find_architectures
from lora_jax.huggingface.checkpoints.folder import load_folder
from lora_jax.model.transformer import forward
from tests.golden.make_golden_models import CASES, VOCAB, make_model, save_model

pytestmark = pytest.mark.parity
TOLERANCE = 2e-5
TOKENS = np.random.default_rng(3).integers(VOCAB, size=(2, 16))
FOREIGN = {"sliding_window", "position_embedding_type", "head_dim"}  # read, and no field of that config class
MISFITS = ("wants", "lacks", "whose classifier has 2", "must be a multiple of", "and layer_types of")
run = jax.jit(forward, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("model_type", find_architectures())
def test_defaults_are_those_of_transformers(model_type: str) -> None:
    t = pytest.importorskip("transformers", reason="parity with transformers needs transformers")
    theirs = {one.name: one.default for one in dataclasses.fields(type(t.AutoConfig.for_model(model_type)))}
    ours = find_architectures()[model_type].defaults
    absent = object()
    differing = {
        name: (value, theirs.get(name, absent))
        for name, value in ours.items()
        if theirs.get(name, absent) != value and not (name in FOREIGN and name not in theirs)
    }
    assert not differing


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return `folders(case)`, each written once by transformers, in float32."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"parity with transformers needs {package}")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            case = CASES[name]._replace(dtype="float32", max_shard_size="1GB")
            save_model(case, make_model(case, 11), made[name])
        return made[name]

    return make


def change(folder: Path, place: Path, edit: Callable[[dict[str, Any]], Any]) -> Path:
    """Return a copy of a folder, its config.json edited."""
    shutil.copytree(folder, place)
    source = json.loads((place / "config.json").read_text())
    edit(source)
    (place / "config.json").write_text(json.dumps(source))
    return place


def compute_theirs(name: str, folder: Path, tokens: np.ndarray) -> np.ndarray | None:
    """Return transformers' output; None where it does not load or computes with weights it has drawn."""
    import torch
    import transformers

    loader = getattr(transformers, CASES[name].model)
    try:
        model, info = loader.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        with torch.no_grad():
            out = model.eval()(torch.as_tensor(tokens))
    except Exception:  # whatever it says: it does not compute
        return None
    if info["missing_keys"] or info["mismatched_keys"]:
        return None
    return (out.logits if "logits" in out else out.last_hidden_state).numpy()


def check(name: str, folder: Path, tokens: np.ndarray = TOKENS) -> str:
    """Return "equal", or "refused" with why; fail where we compute something else than transformers."""
    theirs = compute_theirs(name, folder, tokens)
    try:
        loaded = load_folder(folder, n_classes=3 if name == "bert_classifier" else None)
        ours = np.asarray(run(loaded.config, loaded.params, jnp.asarray(tokens)))
    except LoraJaxError as error:
        return f"refused: {error}"
    assert theirs is not None, "transformers does not compute it, and we do"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    return "equal"


@pytest.mark.parametrize("name", CASES)
def test_a_key_that_is_absent_means_transformers_default(folders, tmp_path: Path, name: str) -> None:
    folder = folders(name)
    assert check(name, folder) == "equal"
    keys = json.loads((folder / "config.json").read_text()).keys()
    for key in sorted(keys - {"model_type"}):
        found = check(name, change(folder, tmp_path / key, lambda source, key=key: source.pop(key)))
        shutil.rmtree(tmp_path / key)
        # a shape that the tensors do not have is refused, everything else has a default that fits
        assert found == "equal" or any(words in found for words in MISFITS), (key, found)


def test_mistral_without_a_window_has_one_of_4096(folders, tmp_path: Path) -> None:
    def edit(source: dict[str, Any]) -> None:
        del source["sliding_window"]
        source["max_position_embeddings"] = 8192

    folder = change(folders("mistral"), tmp_path / "a", edit)
    long = np.random.default_rng(3).integers(VOCAB, size=(1, 4300))
    assert "the model's context is 4096" in check("mistral", folder, long)
    assert load_folder(change(folders("mistral"), tmp_path / "b", lambda s: s.update(sliding_window=None)))
    without = change(folder, tmp_path / "c", lambda source: source.update(sliding_window=None))
    assert check("mistral", without, long) == "equal"


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
DEFAULT = {"rope_type": "default", "rope_theta": 5e5}


def only(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Return an edit that takes every place of RoPE's out and puts these in."""

    def edit(source: dict[str, Any]) -> None:
        for key in ("rope_parameters", "rope_scaling", "rope_theta", "rotary_pct", "rotary_emb_base"):
            source.pop(key, None)
        source.update(fields)

    return edit


def inside(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda source: source["rope_parameters"].update(fields)


# name of a case -> edit; "equal" where we must agree, words where it is refused
ROPE = ("llama", "mistral", "pythia", "qwen2", "qwen3")
TWICE: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], Any], str]] = {
    "yarn beside": (ROPE, lambda s: s.update(rope_scaling=YARN), "by 'yarn'"),
    "llama3 beside": (ROPE, lambda s: s.update(rope_scaling=LLAMA3), "equal"),
    "llama3 alone": (ROPE, only(rope_scaling=LLAMA3), "equal"),
    "llama3, theta at the top": (ROPE[:1], only(rope_scaling=LLAMA3, rope_theta=5e5), "equal"),
    "llama3, theta lost": (
        ROPE, lambda s: s.update(rope_scaling=LLAMA3, rope_parameters=DEFAULT), "theta more than once"
    ),
    "llama3, context at the top": (
        ROPE, only(rope_scaling=LLAMA3, original_max_position_embeddings=16), "original context more than"
    ),
    "empty scaling": (ROPE, lambda s: s.update(rope_scaling={}), "equal"),
    "null scaling": (ROPE, lambda s: s.update(rope_scaling=None), "equal"),
    "null parameters": (ROPE, only(rope_parameters=None), "equal"),
    "nothing": (ROPE, only(), "equal"),
    "old type": (ROPE, only(rope_scaling={"type": "default"}), "equal"),
    "linear": (ROPE, only(rope_scaling={"type": "linear", "factor": 2.0}), "by 'linear'"),
    "theta edited": (ROPE, lambda s: s.update(rope_theta=5e5), "theta more than once"),
    "theta alone": (ROPE, only(rope_theta=5e5), "equal or theta more than once"),
    "theta null": (ROPE, inside(rope_theta=None), "a number above 0"),
    "share of a llama": (ROPE[:1], inside(partial_rotary_factor=0.5), "equal"),
    "share of a llama3": (
        ROPE[:1], only(rope_scaling=LLAMA3 | {"partial_rotary_factor": 0.5}), "which this architecture cannot"
    ),
    "share at the top of a llama": (ROPE[:1], lambda s: s.update(partial_rotary_factor=0.5), "equal"),
    "nested": (("qwen2",), only(rope_parameters={"full_attention": DEFAULT}), "of its own for"),
    "base edited": (("pythia",), lambda s: s.update(rotary_emb_base=500), "theta more than once"),
    "share edited": (("pythia",), lambda s: s.update(rotary_pct=0.5), "rotated more than once"),
    "share at the top": (("pythia",), lambda s: s.update(partial_rotary_factor=0.5), "rotated more than"),
    "old names": (("pythia",), only(rotary_pct=0.5, rotary_emb_base=500), "equal"),
    "old names, scaled": (
        ("pythia",), only(rotary_pct=0.5, rotary_emb_base=500, rope_scaling=LLAMA3), "equal"
    ),
    "share in both": (
        ("pythia",), only(rotary_pct=0.25, rope_parameters=DEFAULT | {"partial_rotary_factor": 0.5}),
        "rotated more than once",
    ),
    "share from the top": (("pythia",), only(rotary_pct=0.5, rope_parameters=DEFAULT), "equal"),
    "window unused": (("qwen2", "qwen3"), lambda s: s.update(sliding_window=8), "equal"),
    "window used": (
        ("qwen2", "qwen3"),
        lambda s: s.update(sliding_window=8, use_sliding_window=True, max_window_layers=1, layer_types=None),
        "context is 8",
    ),
    "window of no layer": (
        ("qwen2",),
        lambda s: s.update(sliding_window=8, use_sliding_window=True, max_window_layers=2, layer_types=None),
        "equal",
    ),
    "window by layer_types": (
        ("qwen2",),
        lambda s: s.update(
            sliding_window=8, use_sliding_window=True, layer_types=["full_attention", "sliding_attention"]
        ),
        "context is 8",
    ),
    "layer_types without a window": (
        ("qwen2",), lambda s: s.update(layer_types=["full_attention", "sliding_attention"]), "no window for"
    ),
    "layer_types too few": (
        ("qwen2",), lambda s: s.update(layer_types=["full_attention"]), "layer_types of 1"
    ),
    "window switch of mistral": (
        ("mistral",), lambda s: s.update(sliding_window=8, use_sliding_window=False), "context is 8"
    ),
    "bias of qwen2": (("qwen2", "mistral"), lambda s: s.update(attention_bias=True), "equal"),
    "bias of llama": (("llama", "qwen3"), lambda s: s.update(attention_bias=True), "attention_bias True"),
    "no bias of neox": (("pythia",), lambda s: s.update(attention_bias=False), "attention_bias False"),
    "bias of the mlp": (("llama",), lambda s: s.update(mlp_bias=True), "mlp_bias True"),
    "another name": (("gpt2",), lambda s: s.update(hidden_size=32), "n_embd more than once"),
    "another name alone": (
        ("gpt2",), lambda s: s.update(num_attention_heads=s.pop("n_head"), hidden_size=s.pop("n_embd")),
        "equal",
    ),
    "head width": (("llama",), lambda s: s.update(head_dim=8), "wants"),
    "more heads": (("llama",), lambda s: s.update(num_attention_heads=8, head_dim=2), "wants"),
    "other heads of gpt2": (("gpt2",), lambda s: s.update(n_head=2), "equal"),
    "no head width": (("qwen3",), lambda s: s.update(head_dim=None), "whole number above 0"),
    "words for true": (("llama", "gpt2"), lambda s: s.update(tie_word_embeddings="false"), "true or false"),
    "tied, two matrices": (("llama",), lambda s: s.update(tie_word_embeddings=True), "set tie_word_emb"),
    "untied, one matrix": (("qwen3", "gpt2"), lambda s: s.update(tie_word_embeddings=False), "lacks"),
    "vocabulary": (("llama", "gpt2", "bert"), lambda s: s.update(vocab_size=65), "wants"),
    "positions": (("gpt2",), lambda s: s.update(n_positions=144), "wants"),
    "rows of types": (("bert",), lambda s: s.update(type_vocab_size=3), "wants"),
    "dtype": (("llama",), lambda s: s.update(torch_dtype="float16", dtype="float32"), "equal"),
    "not causal": (("llama", "gpt2"), lambda s: s.update(is_causal=False), "is_causal False"),
    "layers of their own": (
        ("llama",), lambda s: s.update(per_layer_config={"0": {"rms_norm_eps": 1.0}}), "per_layer_config"
    ),
    "quantised": (
        ("llama",), lambda s: s.update(quantization_config={"quant_method": "bitsandbytes"}), "quantization"
    ),
    "another file": (("llama",), lambda s: s.update(transformers_weights="x.safetensors"), "transformers_w"),
    "labels": (("bert_classifier",), lambda s: s.update(num_labels=5), "classes more than once"),
    "labels by number": (("bert_classifier",), lambda s: s.update(num_labels=3, id2label=None), "equal"),
    "no labels": (("bert_classifier",), lambda s: s.pop("id2label"), "has 2"),
    "labels alone": (("bert_classifier",), lambda s: s.update(id2label={"0": "a", "1": "b"}), "has 2"),
    "activation": (
        ("llama", "gpt2"), lambda s: s.update(hidden_act="relu", activation_function="relu"), "'relu'"
    ),
    "gemma's activation": (("llama",), lambda s: s.update(hidden_activation="gelu"), "equal"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "title"), [(n, title) for title, (ns, *_) in TWICE.items() for n in ns])
def test_one_thing_said_twice(folders, tmp_path: Path, name: str, title: str) -> None:
    _, edit, wanted = TWICE[title]
    found = check(name, change(folders(name), tmp_path / "a", edit))
    assert any(words in found for words in wanted.split(" or ")), found
