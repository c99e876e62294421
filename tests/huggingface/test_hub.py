"""A base by its id on the Hugging Face hub: fetched by huggingface_hub, or a sentence."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from lora_jax.errors import LoraJaxError
from lora_jax.huggingface.pretrained import find_base


def stand_in(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[Any]:
    """Put a huggingface_hub in place whose download does what `answer` says; return what it is asked for."""
    asked: list[Any] = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    module: Any = types.ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_an_id_is_fetched_and_weights_in_no_other_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = stand_in(monkeypatch, tmp_path)
    assert find_base("owner/model-1.5B") == tmp_path
    ((name, patterns),) = asked
    assert name == "owner/model-1.5B"
    assert "*.safetensors" in patterns
    assert not any("bin" in pattern or pattern == "*" for pattern in patterns)


def test_a_folder_of_that_name_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = stand_in(monkeypatch, tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_base("owner/model") == Path("owner/model")
    assert asked == []


def test_no_network_and_no_package_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, ConnectionError("Cannot reach the host.\nmore"))
    with pytest.raises(LoraJaxError, match=r"'owner/model' is neither .*\(Cannot reach the host\): check"):
        find_base("owner/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LoraJaxError, match=r"pip install 'lora-jax\[hf\]'"):
        find_base("owner/model")
    with pytest.raises(LoraJaxError, match="is neither a model that can be fetched"):
        find_base("nowhere")
