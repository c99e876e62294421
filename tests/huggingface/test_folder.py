"""Folders in and out: the bytes of every tensor come back, and what is wrong is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.architectures.architecture import find_architecture, name_module
from lora_jax.huggingface.checkpoints.folder import check_tokenizer, load_folder, read_left_out, save_folder
from lora_jax.huggingface.checkpoints.shards import open_tensors
from lora_jax.model.declare import declare
from lora_jax.model.stacks import split_blocks
from lora_jax.params import init

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
CASES = tuple(sorted(path.name for path in GOLDEN.iterdir()))


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Read every tensor of a folder, by the safetensors package alone."""
    tensors: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors


def check_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        other = second[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape), name
        assert tensor.tobytes() == other.tobytes(), name


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Return `place(case, **fields)`: a golden checkpoint in one file, fields of its config changed."""

    def copy(case: str, **fields: Any) -> Path:
        folder = tmp_path / case
        folder.mkdir()
        save_file(read_tensors(GOLDEN / case), folder / "model.safetensors", metadata={"format": "pt"})
        source = json.loads((GOLDEN / case / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(source | fields))
        return folder

    return copy


def change(folder: Path, edit: Callable[[dict[str, np.ndarray]], Any]) -> Path:
    """Rewrite a folder's tensors as `edit` leaves them."""
    tensors = {name: tensor.copy() for name, tensor in read_tensors(folder).items()}
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("dtype", ["stored", "float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_every_tensor_comes_back_byte_for_byte(case: str, dtype: Any, tmp_path: Path) -> None:
    """As it was, as float32, and narrowed to bfloat16; and a second time from our own files."""
    source = read_tensors(GOLDEN / case)
    target = {"stored": None, "float32": np.float32, "bfloat16": jnp.bfloat16}[dtype]
    expected = source if target is None else {name: w.astype(target) for name, w in source.items()}

    checkpoint = load_folder(GOLDEN / case, dtype="stored" if dtype == "stored" else "float32")
    left_out = {
        name: tensor if target is None else tensor.astype(target)
        for name, tensor in read_left_out(GOLDEN / case, checkpoint.left_out).items()
    }
    save_folder(
        tmp_path / "one",
        checkpoint.config,
        checkpoint.params,
        checkpoint.model_type,
        dtype=None if dtype == "stored" else dtype,
        source=checkpoint.source,
        left_out=left_out,
    )
    check_same(read_tensors(tmp_path / "one"), expected)

    again = load_folder(tmp_path / "one", dtype="stored")
    assert again.config == checkpoint.config
    save_folder(
        tmp_path / "two", again.config, again.params, again.model_type, left_out=left_out, shard_bytes=5000
    )
    check_same(read_tensors(tmp_path / "two"), expected)
    index = json.loads((tmp_path / "two" / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == expected.keys()
    assert len(set(index["weight_map"].values())) > 1
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    assert load_folder(tmp_path / "two").config == checkpoint.config


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"w": "/etc/passwd"}, "plain file name"),
        ({"w": "../model.safetensors"}, "plain file name"),
        ({"w": "sub/model.safetensors"}, "plain file name"),
        ({"w": 3}, "plain file name"),
        ({"w": ["a"]}, "plain file name"),
        (["a"], "has no weight_map"),
        (None, "has no weight_map"),
    ],
)
def test_an_index_names_files_of_its_own_folder(weight_map: object, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(LoraJaxError, match=words):
        open_tensors(tmp_path)


def test_prefix_buffers_older_names_and_a_stored_tied_head_are_taken(place: Callable[..., Path]) -> None:
    def as_the_first_gpt2(tensors: dict[str, np.ndarray]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)
        tensors["h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
        tensors["h.1.attn.masked_bias"] = np.float32(-1e4).reshape(1)
        tensors["lm_head.weight"] = tensors["wte.weight"].copy()

    def as_older_pythia(tensors: dict[str, np.ndarray]) -> None:
        tensors["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = np.ones(1, np.float32)
        tensors["gpt_neox.layers.0.attention.bias"] = np.ones((1, 1, 8, 8), np.bool_)
        tensors["lm_head.weight"] = tensors.pop("embed_out.weight")

    for case, edit in (("gpt2", as_the_first_gpt2), ("pythia", as_older_pythia)):
        plain, edited = load_folder(GOLDEN / case), load_folder(change(place(case), edit))
        assert edited.left_out == ()
        for path, weight in plain.params.items():
            np.testing.assert_array_equal(edited.params[path], weight, err_msg=path)


def test_segments_are_joined_and_every_module_has_its_name(tmp_path: Path) -> None:
    config, params, model_type, *_ = load_folder(GOLDEN / "gpt2")
    save_folder(tmp_path / "split", config, split_blocks(params, 1), model_type)
    check_same(read_tensors(tmp_path / "split"), read_tensors(GOLDEN / "gpt2"))
    names = {
        "gpt2": ("attn/q", "transformer.h.3.attn.c_attn"),
        "gpt_neox": ("attn/v", "gpt_neox.layers.3.attention.query_key_value"),
        "qwen3": ("mlp/gate", "model.layers.3.mlp.gate_proj"),
    }
    for kind, (path, name) in names.items():
        assert name_module(find_architecture(kind), config, path, 3) == name
    bare = load_folder(GOLDEN / "bert").config
    assert (
        name_module(find_architecture("bert"), bare, "attn/o", 1) == "encoder.layer.1.attention.output.dense"
    )


def test_a_classifier_is_drawn_where_the_files_have_none(place: Callable[..., Path], tmp_path: Path) -> None:
    """MiniLM has a pooler, which is used; the classifier is new; both are the same in every process."""
    checkpoint = load_folder(GOLDEN / "bert", n_classes=4)
    assert checkpoint.new == ("classifier", "classifier_bias")
    assert checkpoint.left_out == ()
    drawn = init({"classifier": declare(checkpoint.config)["classifier"]}, seed=0)["classifier"]
    np.testing.assert_array_equal(checkpoint.params["classifier"], drawn)
    labels = ["bad", "poor", "fair", "good"]
    folder = save_folder(tmp_path / "saved", *checkpoint[:3], labels=labels)
    again = load_folder(folder)
    assert again.new == ()
    assert again.source["id2label"]["3"] == "good"
    np.testing.assert_array_equal(again.params["classifier"], drawn)
    with pytest.raises(LoraJaxError, match=r"asked for 2 classes .* has 4"):
        load_folder(folder, n_classes=2)

    def drop_pooler(tensors: dict[str, np.ndarray]) -> None:
        del tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]

    without = load_folder(change(place("bert"), drop_pooler), n_classes=4)
    assert without.new == ("classifier", "classifier_bias", "pooler", "pooler_bias")
    # what a token classifier calls its classifier is not taken for one of sequences
    other = place("bert_classifier", architectures=["BertForTokenClassification"])
    assert load_folder(other, n_classes=4).new == ("classifier", "classifier_bias")


def test_a_sliding_window_bounds_the_context_and_is_kept_on_the_way_out(
    place: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = load_folder(place("mistral", sliding_window=24))
    assert checkpoint.config.context == 24
    kept = save_folder(tmp_path / "kept", *checkpoint[:3], source=checkpoint.source)
    assert json.loads((kept / "config.json").read_text())["max_position_embeddings"] == 144
    assert load_folder(kept).config == checkpoint.config
    bare = save_folder(tmp_path / "bare", *checkpoint[:3])
    assert load_folder(bare).config == checkpoint.config
    unused = dict(use_sliding_window=False, sliding_window=24)
    assert load_folder(place("qwen2", **unused)).config.context == 72


@pytest.mark.parametrize(
    ("case", "fields", "message"),
    [
        ("llama", dict(model_type="lama"), r"model_type 'lama' is not supported \(nearest: 'llama'\)"),
        ("llama", dict(rope_parameters={"rope_type": "yarn"}), "scales RoPE by 'yarn'"),
        ("llama", dict(rope_parameters=None, rope_scaling={"type": "linear", "factor": 2}), "by 'linear'"),
        ("llama", dict(rope_parameters={"rope_type": "llama3", "factor": 8}), "without high_freq_factor"),
        ("llama", dict(attention_bias=True), "attention_bias True"),
        ("llama", dict(mlp_bias=True), "mlp_bias True"),
        ("llama", dict(hidden_act="gelu"), "hidden_act 'gelu'"),
        ("llama", dict(hidden_act={"name": "silu"}), "which is not supported"),
        ("llama", dict(hidden_size=None), "hidden_size None"),
        ("qwen3", dict(layer_types=["linear_attention"] * 2), "layers of 'linear_attention'"),
        ("gpt2", dict(activation_function="relu"), "activation_function 'relu'"),
        ("gpt2", dict(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse_layer_idx True"),
        ("gpt2", dict(n_embd=18, n_head=4), "multiple of n_heads"),
        ("pythia", dict(attention_bias=False), "attention_bias False"),
        ("bert", dict(position_embedding_type="relative_key"), "position_embedding_type 'relative_key'"),
        ("bert", dict(is_decoder=True), "is_decoder True"),
        ("gpt2", dict(vocab_size=65), r"transformer.wte.weight .* shape \(64, 16\), .* \(65, 16\)"),
        ("gpt2", dict(n_layer=3), r"lacks the tensors transformer.h.2.attn.c_attn.bias, .* and 8 more"),
        ("gpt2", dict(n_layer=1), r"no gpt2 of its config.json has: transformer.h.1.attn.c_attn.bias,"),
        ("llama", dict(tie_word_embeddings=True), "lm_head.weight and model.embed_tokens.weight differ"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    place: Callable[..., Path], case: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoraJaxError, match=message) as caught:
        load_folder(place(case, **fields))
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused_by_name(place: Callable[..., Path], tmp_path: Path) -> None:
    folder = place("llama")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-3], whole[:100], whole[:3], b""):
        weights.write_bytes(damaged)
        with pytest.raises(LoraJaxError, match=r"model.safetensors is no whole safetensors file"):
            load_folder(folder)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(LoraJaxError, match=r"neither model.safetensors nor .* \['pytorch_model.bin'\]"):
        load_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(LoraJaxError, match=r"config.json is not JSON"):
        load_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(LoraJaxError, match=r"config.json is missing"):
        load_folder(folder)

    sharded = tmp_path / "sharded"
    shutil.copytree(GOLDEN / "llama", sharded)
    (sharded / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(LoraJaxError, match=r"model-00002-of-00002.safetensors is missing"):
        load_folder(sharded)

    odd = change(
        place("gpt2"), lambda tensors: tensors.update({"transformer.h.0.ln_1.bias": np.ones(16, int)})
    )
    with pytest.raises(LoraJaxError, match=r"transformer.h.0.ln_1.bias .* is I64"):
        load_folder(odd)
    with pytest.raises(LoraJaxError, match=r"tokenizer has 65 tokens and the model's embedding 64"):
        check_tokenizer(load_folder(GOLDEN / "llama").config, 65)
    check_tokenizer(load_folder(GOLDEN / "llama").config, 64)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    config, params, *_ = load_folder(GOLDEN / "gpt2")
    llama, llama_params, *_ = load_folder(GOLDEN / "qwen2")
    target = tmp_path / "out"
    large = params | {"embed/tokens": jnp.full_like(params["embed/tokens"], 1e6)}
    for message, write in {
        r"lacks final_norm/bias": lambda: save_folder(
            target, config, {p: w for p, w in params.items() if p != "final_norm/bias"}, "gpt2"
        ),
        r"holds blocks/attn/q_lora_a": lambda: save_folder(
            target, config, params | {"blocks/attn/q_lora_a": params["blocks/attn/q"]}, "gpt2"
        ),
        r"embed/tokens has the shape \(63, 16\)": lambda: save_folder(
            target, config, params | {"embed/tokens": params["embed/tokens"][1:]}, "gpt2"
        ),
        r"llama checkpoint cannot hold a model with qkv_bias True": lambda: save_folder(
            target, llama, llama_params, "llama"
        ),
        r"model.mlp is 'swiglu'": lambda: save_folder(target, llama, llama_params, "gpt2"),
        r"bert is an encoder": lambda: save_folder(target, config, params, "bert"),
        r"wte.weight has numbers beyond float16's": lambda: save_folder(
            target, config, large, "gpt2", dtype="float16"
        ),
    }.items():
        with pytest.raises(LoraJaxError, match=message):
            write()
        assert list(tmp_path.iterdir()) == [], message
    save_folder(target, config, params, "gpt2")
    with pytest.raises(LoraJaxError, match="exists"):
        save_folder(target, config, params, "gpt2")
