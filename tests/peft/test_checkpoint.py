"""An adapter's file holds what trains, its method and its base, and is refused where one does not fit."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError
from lora_jax.params import Params
from lora_jax.peft.checkpoint import fingerprint, load_adapter, save_adapter
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.dora import DoRA
from lora_jax.peft.methods.lora import LoRA

CONFIG = DoRA(rank=2, targets=("q", "down"), ranks=(("down", 3),))


@pytest.fixture
def saved(models: dict[str, ModelConfig], bases: dict[str, Params], tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "adapter.safetensors"
    trainable = adapt(bases["gpt2"], CONFIG.build(models["gpt2"]), 0).trainable
    save_adapter(path, trainable, CONFIG, fingerprint(bases["gpt2"]))
    return path


def test_what_is_saved_is_loaded_and_nothing_else(
    saved: Path, models: dict[str, ModelConfig], bases: dict[str, Params]
) -> None:
    from safetensors import safe_open

    config, trainable = load_adapter(saved, fingerprint(bases["gpt2"]), models["gpt2"])
    wanted = adapt(bases["gpt2"], CONFIG.build(models["gpt2"]), 0).trainable
    assert config == CONFIG
    assert {p: np.asarray(w).tobytes() for p, w in trainable.items()} == {
        p: np.asarray(w).tobytes() for p, w in wanted.items()
    }
    with safe_open(saved, framework="numpy") as file:
        assert set(file.keys()) == wanted.keys()
        assert file.metadata().keys() == {"method", "base", "digest"}
        assert json.loads(file.metadata()["method"])["method"] == "DoRA"
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_fingerprint_sees_every_part() -> None:
    tree = {"a": jnp.zeros((2, 3)), "b": jnp.ones(4)}
    variants = [
        tree,
        {"c": tree["a"], "b": tree["b"]},
        {**tree, "a": tree["a"].reshape(3, 2)},
        {**tree, "a": tree["a"].astype(jnp.int32)},
        {**tree, "b": tree["b"].at[3].set(1.0000001)},
    ]
    assert len({fingerprint(variant) for variant in variants}) == len(variants)
    assert fingerprint(dict(reversed(tree.items()))) == fingerprint(tree)


def test_misfits_are_named(
    saved: Path, models: dict[str, ModelConfig], bases: dict[str, Params], tmp_path: Path
) -> None:
    model, base = models["gpt2"], fingerprint(bases["gpt2"])
    with pytest.raises(LoraJaxError, match=r"is an adapter of the base .* load the base"):
        load_adapter(saved, fingerprint(bases["llama"]), model)
    with pytest.raises(LoraJaxError, match=r"holds blocks/attn/q_dora_m as \(2, 2, 8\), .*\(3, 2, 8\)"):
        load_adapter(saved, base, dataclasses.replace(model, n_layers=3))
    with pytest.raises(LoraJaxError, match="there is no adapter at"):
        load_adapter(tmp_path / "none", base, model)
    trainable = adapt(bases["gpt2"], CONFIG.build(model), 0).trainable
    partial = {path: w for path, w in trainable.items() if path != "blocks/mlp/down_dora_m"}
    save_adapter(saved, partial, CONFIG, base)
    with pytest.raises(LoraJaxError, match="lacks blocks/mlp/down_dora_m, which DoRA trains"):
        load_adapter(saved, base, model)
    save_adapter(saved, {**trainable, "blocks/attn/q": bases["gpt2"]["blocks/attn/q"]}, CONFIG, base)
    with pytest.raises(LoraJaxError, match="holds blocks/attn/q, which DoRA does not train"):
        load_adapter(saved, base, model)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_file_that_was_cut_short_is_refused(saved: Path, kept: int, bases: dict[str, Params]) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(LoraJaxError, match="is no whole safetensors file"):
        load_adapter(saved, fingerprint(bases["gpt2"]))


def test_a_byte_changed_anywhere_is_refused_or_without_effect(
    saved: Path, bases: dict[str, Params], models: dict[str, ModelConfig]
) -> None:
    """Every third byte of the header, and every 29th of the weights."""
    base = fingerprint(bases["gpt2"])
    config, wanted = load_adapter(saved, base, models["gpt2"])
    whole = saved.read_bytes()
    n_header = 8 + int.from_bytes(whole[:8], "little")
    passed = 0
    for place in [*range(0, n_header, 3), *range(n_header, len(whole), 29)]:
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            found, trainable = load_adapter(saved, base, models["gpt2"])
        except LoraJaxError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - which of them is raised depends on the place
            continue
        passed += 1
        assert found == config
        assert fingerprint(trainable) == fingerprint(wanted)
    assert passed < 30  # the name of the digest, and spaces behind the header


def test_an_adapter_of_an_older_version_is_loaded(
    saved: Path, bases: dict[str, Params], models: dict[str, ModelConfig]
) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    base = fingerprint(bases["gpt2"])
    with safe_open(saved, framework="numpy") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "digest"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    wanted = load_adapter(saved, base, models["gpt2"])
    save_file(tensors, saved, metadata)
    found = load_adapter(saved, base, models["gpt2"])
    assert (found[0], fingerprint(found[1])) == (wanted[0], fingerprint(wanted[1]))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "adapter_model.safetensors"
    save_file({"a": np.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(LoraJaxError, match="does not say which method"):
        load_adapter(path, "0")
    save_adapter(path, {"a": jnp.zeros(3)}, LoRA(), "0")
    assert load_adapter(path, "0")[0] == LoRA()
