"""Folders of ours that are damaged: exported adapters, fetched and kept models. Refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import LLAMA, ModelConfig
from lora_jax.digests import MANIFEST, write_manifest
from lora_jax.errors import Damaged, LoraJaxError
from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.huggingface.adapters.folder import BASE, CONFIG, WEIGHTS, read_folder
from lora_jax.huggingface.checkpoints.companions import copy_companions
from lora_jax.huggingface.checkpoints.folder import save_folder
from lora_jax.huggingface.packages import PACKAGES, Package, find_damaged
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.model.declare import declare
from lora_jax.params import init
from lora_jax.peft.methods.lora import LoRA

MODEL = ModelConfig(
    d_model=8, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=16, context=8, tied_head=False, **LLAMA
)


def export(folder: Path) -> Path:
    config, random = LoRA(rank=1, alpha=2.0, targets=("q",)), np.random.default_rng(0)
    method = config.build(MODEL)
    weights = {
        path: jnp.asarray(random.normal(size=method.specs[path].shape), jnp.float32)
        for path in sorted(method.trainable)
    }
    export_adapter(folder, "the/base", "llama", MODEL, config, weights)
    return folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    fields, tensors = read_folder(folder)
    return {k: v for k, v in fields.items() if k != BASE}, {k: v.tobytes() for k, v in tensors.items()}


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_byte_changed_anywhere_in_an_exported_adapter(tmp_path: Path, name: str) -> None:
    path = export(tmp_path / "a") / name
    wanted, whole, refused = read(path.parent), path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 7)]) + whole[place + 1 :])
        try:
            found = read(path.parent)
        except LoraJaxError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - which of them is raised depends on the place
            continue
        if name == CONFIG:  # the field of the base's name is no more than a name
            found[0].pop(next((key for key in found[0] if key not in wanted[0]), ""), None)
        assert found == wanted
    assert refused > len(whole) / 6


def test_an_adapter_that_peft_saved_and_one_of_another_base_are_read(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = export(tmp_path / "a")
    wanted = read(folder)
    fields = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(fields | {BASE: "elsewhere"}))
    assert read(folder) == wanted
    (folder / CONFIG).write_text(json.dumps(fields | {"lora_alpha": 3}))
    with pytest.raises(Damaged, match="save it again in peft if you changed it"):
        read(folder)
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"format": "pt"})
    assert read(folder)[0]["lora_alpha"] == 3


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole model's folder with digests, as a sweep keeps it or `fetch` makes it."""
    from tokenizers import Tokenizer, models

    folder = save_folder(tmp_path / "cache" / "models" / "tiny", MODEL, init(declare(MODEL), 0), "llama")
    inner = Tokenizer(models.WordLevel({f"w{i}": i for i in range(16)}, unk_token="w0"))
    inner.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "w1"}))
    write_manifest(folder)
    return folder


def spoil(path: Path) -> bytes:
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    return whole


def test_a_kept_model_with_a_changed_file_is_refused_by_its_name(model: Path) -> None:
    wanted = load_pretrained(str(model)).fingerprint
    for path in sorted(model.iterdir()):
        whole = spoil(path)
        with pytest.raises(Damaged, match=rf"{path.name} is damaged.*delete .*{MANIFEST}"):
            load_pretrained(str(model))
        path.unlink()
        if path.name != MANIFEST:
            with pytest.raises(Damaged, match=rf"{path.name} is damaged"):
                load_pretrained(str(model))
        path.write_bytes(whole)
    (model / "mine.txt").write_text("a file that was put beside")
    assert load_pretrained(str(model)).fingerprint == wanted


def test_the_digests_of_a_base_are_no_part_of_what_is_made_of_it(model: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    assert MANIFEST not in copy_companions(model, tmp_path / "merged")


def test_a_fetched_model_that_is_damaged_is_told_to_be_fetched_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PACKAGES, "tiny", Package("tiny", "1", "a model", 0, {}, is_gguf=True))
    assert find_damaged("tiny") is None
    load_pretrained("tiny")
    spoil(model / "model.safetensors")
    assert find_damaged("tiny") == model / "model.safetensors"
    with pytest.raises(Damaged, match=r"model\.safetensors is damaged.*`lora-jax fetch tiny`, which re"):
        load_pretrained("tiny")
    (model / MANIFEST).unlink()  # an older version's: of a converted model nothing is known
    assert find_damaged("tiny") is None


def test_what_an_older_version_copied_is_compared_with_the_pinned_digests(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lora_jax.digests import hash_file

    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path / "cache"))
    pinned = {f"inside/{path.name}": hash_file(path) for path in model.iterdir() if path.name != MANIFEST}
    monkeypatch.setitem(PACKAGES, "tiny", Package("tiny", "1", "a model", 0, pinned))
    (model / MANIFEST).unlink()
    (model / "source.json").write_text("{}")
    assert find_damaged("tiny") is None
    spoil(model / "model.safetensors")
    assert find_damaged("tiny") == model / "model.safetensors"
    shutil.rmtree(model)
