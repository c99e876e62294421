"""Adapters that do not fit, and folders that are not ours to write: refused by name, nothing half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import load_file, save_file

from lora_jax.config import BERT, LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.huggingface.adapters.fields import names_module
from lora_jax.huggingface.adapters.importing import import_adapter
from lora_jax.params import Params
from lora_jax.peft.method import MethodConfig
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.prompt import Prompt
from lora_jax.peft.methods.subset import BitFit
from lora_jax.peft.methods.vera import VeRA

LLAMA_ADAPTER = Path(__file__).parents[1] / "golden" / "peft" / "llama"  # on q and v, rank 4, alpha 8
SIZES: dict[str, Any] = dict(d_model=16, n_layers=2, n_heads=4, vocab_size=64, context=24)
MODELS: dict[str, ModelConfig] = {
    "gpt2": ModelConfig(**SIZES),
    "llama": ModelConfig(**SIZES, n_kv_heads=2, tied_head=False, **LLAMA),
    "bert": ModelConfig(**SIZES, n_classes=3, **BERT),
}


def draw(config: MethodConfig, model: ModelConfig) -> Params:
    """Return weights of every trainable path, as if trained."""
    method, random = config.build(model), np.random.default_rng(3)
    shapes = {path: method.specs[path].shape for path in sorted(method.trainable)}
    return {p: jnp.asarray(random.uniform(0.1, 0.3, shape), jnp.float32) for p, shape in shapes.items()}


Fields = dict[str, Any]
Tensors = dict[str, np.ndarray]
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
MISTAKES: dict[str, tuple[Callable[[Fields, Tensors], Any], str]] = {
    "kind": (lambda f, t: f.update(peft_type="LORAA"), r"'LORAA'.*nearest: 'LORA'"),
    "bias": (lambda f, t: f.update(bias="all"), "bias = 'all'"),
    "field": (lambda f, t: f.update(lora_bias=True), "lora_bias = True"),
    "new field": (lambda f, t: f.update(use_tomorrow={"x": 1}), "use_tomorrow"),
    "start": (lambda f, t: f.update(init_lora_weights="pissa_niter_4"), "pissa_niter_4"),
    "task": (lambda f, t: f.update(task_type="SEQ_CLS"), "SEQ_CLS.*language model"),
    "other base": (
        lambda f, t: f.update(target_modules=["c_attn"]),
        r"\['c_attn'\] names no module of a llama",
    ),
    "pattern": (lambda f, t: f.update(rank_pattern={"layers.1.self_attn.q_proj": 2}), "rank_pattern.*q_proj"),
    "layers": (lambda f, t: f.update(layers_to_transform=[0]), r"layers \[0\] of 2"),
    "missing": (lambda f, t: t.pop(FIRST), f"lacks the tensor {FIRST}"),
    "unexpected": (lambda f, t: f.update(target_modules=["q_proj"]), r"v_proj\.lora_A.*does not ask for"),
    "shape": (lambda f, t: t.update({FIRST: t[FIRST][:, :8]}), rf"{FIRST} has the shape \(4, 8\).*\(4, 16\)"),
    "rank": (lambda f, t: f.update(r=2), r"\(4, 16\), this model wants \(2, 16\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_adapter_that_does_not_fit_is_refused_by_name(tmp_path: Path, mistake: str) -> None:
    fields = json.loads((LLAMA_ADAPTER / "adapter_config.json").read_text())
    tensors = load_file(LLAMA_ADAPTER / "adapter_model.safetensors")
    spoil, words = MISTAKES[mistake]
    spoil(fields, tensors)
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    whole = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    save_file(whole, tmp_path / "adapter_model.safetensors")
    with pytest.raises(LoraJaxError, match=words):
        import_adapter(tmp_path, "llama", MODELS["llama"])


def test_files_that_are_missing_or_cut_short_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoraJaxError, match=r"adapter_config\.json does not exist"):
        import_adapter(tmp_path, "llama", MODELS["llama"])
    shutil.copy(LLAMA_ADAPTER / "adapter_config.json", tmp_path)
    (tmp_path / "adapter_model.bin").touch()
    with pytest.raises(LoraJaxError, match="a pickle"):
        import_adapter(tmp_path, "llama", MODELS["llama"])
    whole = (LLAMA_ADAPTER / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(whole[:-10])
    with pytest.raises(LoraJaxError, match=r"adapter_model\.safetensors is no whole safetensors file"):
        import_adapter(tmp_path, "llama", MODELS["llama"])


def test_a_rank_and_an_alpha_that_are_left_out_are_eight(tmp_path: Path) -> None:
    shutil.copytree(LLAMA_ADAPTER, tmp_path / "a")
    fields = json.loads((LLAMA_ADAPTER / "adapter_config.json").read_text())
    del fields["r"], fields["lora_alpha"]
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(fields))
    with pytest.raises(LoraJaxError, match=r"\(4, 16\), this model wants \(8, 16\)"):
        import_adapter(tmp_path / "a", "llama", MODELS["llama"])
    fields["rank_pattern"] = {"q_proj": 4, "v_proj": 4}
    (tmp_path / "a" / "adapter_config.json").write_text(json.dumps(fields))
    method = import_adapter(tmp_path / "a", "llama", MODELS["llama"]).method
    assert isinstance(method, LoRA)
    assert method.scale("blocks/attn/q") == 8 / 4


@pytest.mark.parametrize(
    ("model_type", "config", "words"),
    [
        ("llama", AdapterH(rank=2), "peft has no adapter of the kind AdapterH"),
        ("gpt2", BitFit(), "kind BitFit"),
        ("bert", Prompt(length=2), "Prompt on a classifier"),
        ("gpt2", VeRA(rank=2), "VeRA on a part of attn.c_attn"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_peft_has_no_form_for_is_refused_by_name(
    tmp_path: Path, model_type: str, config: MethodConfig, words: str
) -> None:
    model = MODELS[model_type]
    with pytest.raises(LoraJaxError, match=words):
        export_adapter(tmp_path / "a", "base", model_type, model, config, draw(config, model))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, model, config = tmp_path / "a", MODELS["llama"], LoRA(rank=2)
    trainable = draw(config, model)

    def export() -> None:
        export_adapter(folder, "base", "llama", model, config, trainable)

    export()
    export()  # an adapter may be replaced
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.keys() == {"adapter_config.json", "adapter_model.safetensors"}

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(safetensors.numpy, "save_file", fail)
        with pytest.raises(OSError, match="no space"):
            export()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(LoraJaxError, match=r"holds 'notes.txt'"):
        export()


DENSE = {"x.a.0.attention.output.dense", "x.a.0.output.dense", "x.a.1.output.dense"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"target_modules": ["output.dense"]}, DENSE),
        ({"target_modules": r".*\.\d+\.output\.dense"}, {"x.a.0.output.dense", "x.a.1.output.dense"}),
        ({"target_modules": ["x.a.0.output.dense", "query"]}, {"x.a.0.output.dense", "x.a.0.query"}),
        ({"target_modules": ["dense"], "layers_to_transform": 1}, {"x.a.1.output.dense"}),
        (
            {"target_modules": ["dense"], "exclude_modules": ["attention.output.dense"]},
            {"x.a.0.output.dense", "x.a.1.output.dense"},
        ),
        ({"target_modules": ["dense", "head"], "modules_to_save": ["output"]}, {"head"}),
    ],
)
def test_modules_are_found_by_the_rules_of_peft(fields: Fields, named: set[str]) -> None:
    names = [
        "x.a.0.attention.output.dense",
        "x.a.0.output.dense",
        "x.a.1.output.dense",
        "x.a.0.query",
        "head",
    ]
    assert {name for name in names if names_module(fields, name)} == named
