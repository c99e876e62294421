"""Modules that an adapter holds whole: what they do to a base, tied or not, and how they leave again.

The folders are written here in peft's layout; tests/parity/test_whole_modules.py has peft write them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lora_jax import cli
from lora_jax.config import LLAMA, ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.adapters.attaching import attach_adapter
from lora_jax.huggingface.adapters.importing import import_adapter
from lora_jax.huggingface.checkpoints.folder import load_folder, save_folder
from lora_jax.huggingface.pretrained import Pretrained, load_pretrained
from lora_jax.model.declare import declare
from lora_jax.model.transformer import forward
from lora_jax.params import combine, init
from lora_jax.peft.method import adapt
from tests.prompting.places import make_tokenizer

VOCAB = make_tokenizer().get_vocab_size()
TOKENS = jnp.arange(12)[None] * 7 % VOCAB
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
NORM = "model.layers.{}.input_layernorm.weight"
Bases = Callable[..., Pretrained]


@pytest.fixture
def bases(tmp_path: Path) -> Bases:
    """Return `bases(tied)`: a tiny Llama in a folder with a tokenizer, loaded."""

    def make(tied: bool, dtype: Any = None, n_classes: int | None = None) -> Pretrained:
        model = ModelConfig(
            d_model=16,
            n_layers=2,
            n_heads=4,
            n_kv_heads=2,
            vocab_size=VOCAB,
            context=32,
            tied_head=tied,
            n_classes=n_classes,
            **LLAMA,
        )
        params = {path: w * 4 if w.ndim > 1 else w for path, w in init(declare(model), 1).items()}
        folder = save_folder(tmp_path / "base", model, params, "llama", dtype=dtype)
        make_tokenizer(begins=True).save(str(folder / "tokenizer.json"))
        settings = {"eos_token": "</s>", "bos_token": "<s>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return load_pretrained(str(folder))

    return make


def write(
    folder: Path,
    whole: Mapping[str, np.ndarray],
    targets: tuple[str, ...] = (),
    size: float = 0.3,
    **fields: Any,
) -> Path:
    """Write an adapter of peft on q and on `targets` besides, with whole tensors by their names in memory."""
    random = np.random.default_rng(2)
    tensors = {f"base_model.model.{name}": tensor.astype(np.float32) for name, tensor in whole.items()}
    modules = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(2)]
    shapes = {name: (16, 16) for name in modules} | {name: (16, VOCAB) for name in targets}
    for name, (n_in, n_out) in shapes.items():
        lead = f"base_model.model.{name}"
        tensors[f"{lead}.lora_A.weight"] = random.normal(0, size, (2, n_in)).astype(np.float32)
        tensors[f"{lead}.lora_B.weight"] = random.normal(0, size, (n_out, 2)).astype(np.float32)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", *targets]}
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(settings | fields))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1, shape).astype(np.float32)


def compute(base: Pretrained, adapter: Path) -> np.ndarray:
    found = attach_adapter(adapter, base)
    config, method = found.base.config, found.method.build(found.base.config)
    weights = combine(found.trainable, adapt(found.base.params, method, 0).frozen)
    return np.asarray(forward(config, weights, TOKENS, method.hooks))


def compute_folder(folder: Path) -> np.ndarray:
    loaded = load_folder(folder)
    return np.asarray(forward(loaded.config, loaded.params, TOKENS))


def test_an_embedding_saved_on_a_tied_base_leaves_the_head_alone(bases: Bases, tmp_path: Path) -> None:
    """peft gives it to the input alone. Both at once, or adapting one of them, separates them too."""
    base, E, H = bases(True), draw(VOCAB, 16), draw(VOCAB, 16) + 1
    old = np.asarray(base.params["embed/tokens"])
    for number, (whole, saved, want) in enumerate(
        (
            ({EMBEDDING: E}, ["embed_tokens"], (E, old)),
            ({HEAD: H}, ["lm_head"], (old, H)),
            ({EMBEDDING: E, HEAD: H}, ["embed_tokens", "lm_head"], (E, H)),
        )
    ):
        adapter = write(tmp_path / str(number), whole, modules_to_save=saved)
        with pytest.raises(LoraJaxError, match="in this base they are one matrix"):
            import_adapter(adapter, base.model_type, base.config)
        found = attach_adapter(adapter, base)
        assert not found.base.config.tied_head
        np.testing.assert_array_equal(found.base.params["embed/tokens"], want[0])
        np.testing.assert_array_equal(found.base.params["head"], want[1].T)
    adapter = write(tmp_path / "target", {"lm_head.base_layer.weight": old}, ("lm_head",))
    found = attach_adapter(adapter, base)
    assert (found.base.config.tied_head, found.replaced) == (False, frozenset())
    assert "head_lora_a" in found.trainable
    assert not any(path.startswith("embed") for path in found.trainable)


def test_what_stays_one_matrix_stays_tied(bases: Bases, tmp_path: Path) -> None:
    """Both equal, kept tied by ensure_weight_tying, or both as peft adds them where a vocabulary grew."""
    base, E = bases(True), draw(VOCAB, 16)
    both = {EMBEDDING: E, HEAD: E}
    adapters = [
        write(tmp_path / "equal", both, modules_to_save=["embed_tokens", "lm_head"]),
        write(
            tmp_path / "ensured", {EMBEDDING: E}, modules_to_save=["embed_tokens"], ensure_weight_tying=True
        ),
        write(tmp_path / "added", both),
    ]
    for adapter in adapters:
        found = attach_adapter(adapter, base)
        assert (found.base.config.tied_head, found.replaced) == (True, {"embed/tokens"})
        np.testing.assert_array_equal(found.base.params["embed/tokens"], E)
    with pytest.raises(LoraJaxError, match="which differ, and the base ties"):
        attach_adapter(write(tmp_path / "differing", {EMBEDDING: E, HEAD: E + 1}), base)
    targets = write(tmp_path / "targets", {}, ("lm_head",), ensure_weight_tying=True)
    with pytest.raises(LoraJaxError, match="ensure_weight_tying with lm_head"):
        attach_adapter(targets, base)


def test_a_resized_vocabulary_says_what_to_do(bases: Bases, tmp_path: Path) -> None:
    E = draw(VOCAB + 8, 16)
    adapter = write(tmp_path / "a", {EMBEDDING: E, HEAD: E})
    with pytest.raises(LoraJaxError, match=rf"has {VOCAB + 8} rows.*the base has {VOCAB}.*resize_token_emb"):
        attach_adapter(adapter, bases(False))


def test_modules_to_save_and_tensors_belong_together(bases: Bases, tmp_path: Path) -> None:
    base = bases(False)
    with pytest.raises(LoraJaxError, match=r"lacks lm_head\.weight whole, which modules_to_save"):
        attach_adapter(write(tmp_path / "a", {}, modules_to_save=["lm_head"]), base)
    half = write(tmp_path / "b", {NORM.format(1): draw(16)}, modules_to_save=["layers.1.input_layernorm"])
    with pytest.raises(LoraJaxError, match=r"lacks model\.layers\.0\.input_layernorm.*in other layers"):
        attach_adapter(half, base)
    scales = {NORM.format(layer): draw(16) + layer for layer in range(2)}
    found = attach_adapter(write(tmp_path / "c", scales, modules_to_save=["input_layernorm"]), base)
    np.testing.assert_array_equal(found.base.params["blocks/attn_norm/scale"], list(scales.values()))
    fitting = import_adapter(tmp_path / "c", base.model_type, base.config)
    assert fitting.replaced.keys() == {"blocks/attn_norm/scale"}


@pytest.mark.parametrize("tied", [False, True])
def test_export_and_merge_keep_what_is_whole(bases: Bases, tmp_path: Path, tied: bool) -> None:
    """Exported, it comes back with the same logits; merged, the folder has them and says how its head is."""
    base = bases(tied)
    whole = {EMBEDDING: draw(VOCAB, 16), "model.norm.weight": draw(16)}
    adapter = write(tmp_path / "a", whole, modules_to_save=["embed_tokens", "model.norm"])
    want = compute(base, adapter)
    options = [str(adapter), "--base", str(base.folder), "--out"]
    assert cli.main(["export", *options, str(tmp_path / "exported")]) == 0
    exported = load_file(tmp_path / "exported" / "adapter_model.safetensors")
    np.testing.assert_array_equal(exported[f"base_model.model.{EMBEDDING}"], whole[EMBEDDING])
    np.testing.assert_array_equal(compute(base, tmp_path / "exported"), want)
    assert cli.main(["merge", *options, str(tmp_path / "merged")]) == 0
    np.testing.assert_allclose(compute_folder(tmp_path / "merged"), want, rtol=0, atol=1e-5)
    said = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert said["tie_word_embeddings"] is False


def test_a_shared_matrix_leaves_for_both_its_uses(bases: Bases, tmp_path: Path) -> None:
    """modules_to_save with the embedding alone would be another function on a tied base."""
    base, E = bases(True), draw(VOCAB, 16)
    adapter = write(tmp_path / "a", {EMBEDDING: E, HEAD: E})
    options = [str(adapter), "--base", str(base.folder), "--out", str(tmp_path / "b")]
    assert cli.main(["export", *options]) == 0
    fields = json.loads((tmp_path / "b" / "adapter_config.json").read_text())
    assert fields["modules_to_save"] == ["lm_head", "model.embed_tokens"]
    np.testing.assert_array_equal(compute(base, tmp_path / "b"), compute(base, adapter))


def test_merge_gives_back_what_lay_beside(bases: Bases, tmp_path: Path) -> None:
    base = bases(False)
    more = {
        "generation_config.json": "{}",
        "chat_template.jinja": "{{ x }}",
        "README.md": "mine",
        "extra/notes.txt": "n",
        "1_Pooling/config.json": "{}",
    }
    old = {
        "pytorch_model.bin": "w",
        "model.safetensors.index.json": "{}",
        "onnx/model.onnx": "o",
        ".git/x": "g",
    }
    for name, text in (more | old).items():
        path = base.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    adapter = write(tmp_path / "a", {})
    options = [str(adapter), "--base", str(base.folder), "--out", str(tmp_path / "merged")]
    assert cli.main(["merge", *options]) == 0
    files = {str(p.relative_to(tmp_path / "merged")) for p in (tmp_path / "merged").rglob("*") if p.is_file()}
    ours = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert files == more.keys() | ours
    for name, text in more.items():
        assert (tmp_path / "merged" / name).read_text() == text
    assert load_pretrained(str(tmp_path / "merged")).config == base.config


def test_merge_keeps_the_dtype_or_says_why_not(bases: Bases, tmp_path: Path, capsys: Any) -> None:
    base = bases(False, dtype="bfloat16")
    options = ["--base", str(base.folder), "--out"]

    def merge(adapter: Path, name: str, *more: str) -> tuple[str, str, str]:
        assert cli.main(["merge", str(adapter), *options, str(tmp_path / name), *more]) == 0
        tensors = load_file(tmp_path / name / "model.safetensors")
        written = json.loads((tmp_path / name / "config.json").read_text())["torch_dtype"]
        (dtype,) = {str(tensor.dtype) for tensor in tensors.values()}
        return dtype, written, capsys.readouterr().out

    large, small = write(tmp_path / "large", {}, size=2.0), write(tmp_path / "small", {}, size=0.003)
    dtype, written, said = merge(large, "a")
    assert (dtype, written) == ("bfloat16", "bfloat16")
    assert "in bfloat16" in said
    dtype, written, said = merge(small, "b")
    assert (dtype, written) == ("float32", "float32")
    assert "in float32, because bfloat16, the base's, would lose over 5 %" in said
    assert merge(small, "c", "--force")[:2] == ("bfloat16", "bfloat16")
    assert merge(large, "d", "--dtype", "float32")[:2] == ("float32", "float32")
    assert cli.main(["merge", str(small), *options, str(tmp_path / "e"), "--dtype", "bfloat16"]) != 0


def test_a_decoder_classifier_gets_a_token_for_padding(bases: Bases, tmp_path: Path, capsys: Any) -> None:
    """transformers reads it at the last token that is not that one. </s> ends every text: so it is <s>."""
    base = bases(False, n_classes=3)
    adapter = write(
        tmp_path / "a", {"score.weight": draw(3, 16)}, modules_to_save=["score"], task_type="SEQ_CLS"
    )
    options = ["--base", str(base.folder), "--out", str(tmp_path / "merged")]
    assert cli.main(["merge", str(adapter), *options]) == 0
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["pad_token_id"] == 1
    assert json.loads((tmp_path / "merged" / "tokenizer_config.json").read_text())["pad_token"] == "<s>"
    assert "padded with '<s>'" in capsys.readouterr().out
